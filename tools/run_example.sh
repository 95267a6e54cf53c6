#!/usr/bin/env bash
# Runs the example pipeline in build/example (a copy of examples/company, yours to change) and serves it until told to stop.
#   tools/run_example.sh PX PORT    or    tools/run_example.sh --stop
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
home=$top/build/example
pid_file=$top/build/example.pid
out=$top/build/log/serve.out
log=$top/build/log/serve.log
say() { printf '%s\n' "$*" >&2; }

served_pid() { # prints the pid of the px that an earlier call serves
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q ' serve ' && echo "$pid"
}
end() { # PID: asks it to stop, waits ten seconds, insists
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 1 100); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$1" 2>/dev/null || true
}

if [ "${1:-}" = --stop ]; then
    if pid=$(served_pid); then
        end "$pid"
        say "stopped"
    else
        say "nothing is served"
    fi
    rm -f "$pid_file"
    exit 0
fi
if [ $# -ne 2 ]; then
    say "usage: tools/run_example.sh PX PORT | --stop"
    exit 2
fi

px=$(readlink -f "$1") port=$2
mkdir -p "$top/build/log"
if pid=$(served_pid); then
    say "run: ending what an earlier make run served"
    end "$pid"
fi
rm -f "$pid_file"
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    say "run: something else listens on port $port; next: stop it, or take another: make run PORT=$((port + 1))"
    exit 1
fi

if [ ! -d "$home" ]; then
    rm -rf "$home.new"
    cp -r "$top/examples/company" "$home.new"
    # Only the example, not what px made of it there.
    (cd "$home.new" && rm -rf landing lake index catalog.db* .px .env)
    mv "$home.new" "$home"
fi
cd "$home"
python3 make_orders.py
status=0
"$px" run || status=$?
case $status in
0 | 99) ;;
3) # halted: an earlier release, if there is one, is still good
    if [ "$("$px" releases --json --limit 1 2>/dev/null)" = "[]" ]; then
        say "run: the gate halted the first run, so nothing can be served; next: mend $home/data, or start over: rm -rf build/example"
        exit 3
    fi
    say "run: the gate halted this run; the release before it is served"
    ;;
*)
    say "run: the example did not publish (exit $status); next: read the lines above, or start over: rm -rf build/example"
    exit "$status"
    ;;
esac

# In a session of its own: Ctrl-C reaches this script alone, which then asks px to drain.
: >"$out"
setsid "$px" serve --port "$port" >"$out" 2>"$log" </dev/null &
server=$!
echo "$server" >"$pid_file"
finish() {
    trap - EXIT INT TERM HUP
    end "$server"
    [ "$(cat "$pid_file" 2>/dev/null)" != "$server" ] || rm -f "$pid_file"
    exit "$1"
}
trap 'finish 0' INT TERM HUP
trap 'finish $?' EXIT
for _ in $(seq 1 600); do
    [ -s "$out" ] && break
    if ! kill -0 "$server" 2>/dev/null; then
        tail -n 10 "$log" >&2
        say "run: the server ended; next: read the lines above (log: ${log#"$top"/}), or take another port: make run PORT=$((port + 1))"
        finish 1
    fi
    sleep 0.1
done
if [ ! -s "$out" ]; then
    say "run: the server is not ready after a minute; next: see ${log#"$top"/}"
    finish 1
fi
cat <<TXT

  Pipeline-X is up.
    page    http://127.0.0.1:$port/         (API: http://127.0.0.1:$port/docs)
    ask     What is the financial outlook?
    shell   cd build/example && $px ask "What is the financial outlook?"
    tour    README.md, then examples/company/README.md
    stop    Ctrl-C here, or make stop in another terminal

TXT
wait "$server" || true
say "run: the server has stopped"
