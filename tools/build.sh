#!/usr/bin/env bash
# Configures and builds a preset: tools/build.sh PRESET TARGET. Prints one line of progress and, on failure, the first error.
set -euo pipefail
preset=$1 target=$2
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
mkdir -p build/log
log=build/log/build-$preset.log
say() { printf 'build: %s\n' "$*" >&2; }
export PATH="$top/.deps/node/bin:$PATH"
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
if ! cmake --preset "$preset" >"$log" 2>&1; then
    tail -n 15 "$log" | sed 's/^/    | /' >&2
    say "configuring failed; next: see $log"
    exit 1
fi
if [ "$target" = tidy ]; then
    git ls-files 'src/*.cpp' | grep -v -e _test.cpp -e kernels/ | xargs -P "$(nproc)" -n 4 clang-tidy -p "build/$preset" --quiet
    exit
fi
started=$SECONDS
if [ -t 2 ]; then
    status=0
    ninja -C "build/$preset" -j "${JOBS:-$(nproc)}" "$target" 2>&1 | tee -a "$log" | grep --line-buffered -oE '^\[[0-9]+/[0-9]+\]' |
        while read -r step; do printf '\rbuild: %s %s' "$target" "$step" >&2; done || true
    status=${PIPESTATUS[0]}
    printf '\r\033[K' >&2
else
    say "$target ..."
    ninja -C "build/$preset" -j "${JOBS:-$(nproc)}" "$target" >>"$log" 2>&1 && status=0 || status=$?
fi
if [ "$status" != 0 ]; then
    grep -m1 -A12 -E 'error|FAILED' "$log" | sed 's/^/    | /' >&2
    say "$target failed; next: see $log"
    exit 1
fi
say "$target: done in $((SECONDS - started)) s"
