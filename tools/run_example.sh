#!/usr/bin/env bash
# Runs the example pipeline in build/example and serves it until told to stop.
#   tools/run_example.sh PX PORT    or    tools/run_example.sh --stop
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
home=$top/build/example
pid_file=$home/.px/serve.pid
say() { printf '%s\n' "$*" >&2; }

running() { [ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }

if [ "$1" = --stop ]; then
    if running; then
        kill "$(cat "$pid_file")"
        say "stopped"
    else
        say "nothing is served"
    fi
    rm -f "$pid_file"
    exit 0
fi

px=$(readlink -f "$1") port=$2
if [ ! -d "$home" ]; then
    mkdir -p "$top/build"
    cp -r "$top/examples/company" "$home"
fi
cd "$home"
[ -e data/orders.db ] || python3 make_orders.py >/dev/null
status=0
"$px" run || status=$?
case $status in
0 | 99) ;;
*)
    say "run: the example did not publish (exit $status); next: read the lines above, or start over with: rm -rf build/example"
    exit "$status"
    ;;
esac
if running; then
    kill "$(cat "$pid_file")" 2>/dev/null || true
    sleep 0.5
fi
mkdir -p .px
"$px" serve --port "$port" >.px/serve.out 2>.px/serve.log &
server=$!
echo "$server" >"$pid_file"
trap 'kill "$server" 2>/dev/null; rm -f "$pid_file"' EXIT INT TERM
for _ in $(seq 1 150); do
    [ -s .px/serve.out ] && break
    if ! kill -0 "$server" 2>/dev/null; then
        cat .px/serve.log >&2
        say "run: the server ended; next: free port $port or choose another: make run PORT=8502"
        exit 1
    fi
    sleep 0.1
done
cat <<TXT

  Pipeline-X is up.
    page    http://127.0.0.1:$port/         (API: http://127.0.0.1:$port/docs)
    ask     What is the financial outlook?
    shell   cd build/example && $px ask "What is the financial outlook?"
    tour    examples/company/README.md
    stop    Ctrl-C here, or make stop in another terminal

TXT
wait "$server"
