#!/usr/bin/env bash
# Configures and builds a preset: tools/build.sh PRESET TARGET (px, all, tidy). Prints progress and, on failure, the first error.
# The whole output is in build/log/build-PRESET.log.
set -euo pipefail
preset=$1 target=$2
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
mkdir -p build/log
log=build/log/build-$preset.log
say() { printf 'build: %s\n' "$*" >&2; }
export PATH="$top/.deps/node/bin:$PATH"
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
# A clone that was moved keeps the old place in its cache; CMake would refuse it.
cache=build/$preset/CMakeCache.txt
if [ -e "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$top" "$cache"; then rm -rf "build/$preset"; fi
if ! cmake --preset "$preset" >"$log" 2>&1; then
    grep -m1 -A10 'CMake Error' "$log" | sed 's/^/    | /' >&2 || tail -n 10 "$log" | sed 's/^/    | /' >&2
    say "configuring failed; next: read the lines above (log: $log)"
    exit 1
fi
if [ "$target" = tidy ]; then
    # Version 16: Debian 12's default, 14, does not know std::source_location.
    git ls-files 'src/*.cpp' | grep -v -e _test.cpp -e kernels/ |
        xargs -P "$(nproc)" -n 4 clang-tidy-16 -p "build/$preset" --quiet --extra-arg=-Wno-unknown-warning-option
    exit
fi

# Rewrites one line on a terminal; elsewhere a line every half minute.
progress() {
    local line told=$SECONDS
    while IFS= read -r line; do
        [[ $line =~ ^\[([0-9]+/[0-9]+)\] ]] || continue
        if [ -t 2 ]; then
            printf '\rbuild: %s %s\033[K' "$target" "${BASH_REMATCH[1]}" >&2
        elif ((SECONDS - told >= 30)); then
            say "$target ${BASH_REMATCH[1]} ($((SECONDS - started)) s)"
            told=$SECONDS
        fi
    done
}

started=$SECONDS
[ -t 2 ] || say "$target ..."
set +e
ninja -C "build/$preset" -j "${JOBS:-$(nproc)}" "$target" 2>&1 </dev/null | tee -a "$log" | progress
status=${PIPESTATUS[0]}
set -e
[ ! -t 2 ] || printf '\r\033[K' >&2
if [ "$status" != 0 ]; then
    { grep -m1 -A14 -E '^FAILED:|^ninja: error|: (fatal )?error:' "$log" || tail -n 15 "$log"; } | cut -c1-300 | sed 's/^/    | /' >&2
    if grep -qE 'Killed signal|cc1plus.*[Kk]illed|No space left' "$log"; then
        say "$target failed: memory or disk ran out; next: free some, or build with fewer jobs: make JOBS=1 (log: $log)"
    else
        say "$target failed; next: read the lines above (log: $log)"
    fi
    exit 1
fi
say "$target: done in $((SECONDS - started)) s"
