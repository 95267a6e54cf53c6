#!/usr/bin/env bash
# The page over a real px: the sample company with two releases and a halted run, in Chromium.
#   tests/e2e/web/run.sh PX [OPTIONS OF page_test.mjs]
set -euo pipefail
px=$(readlink -f "$1")
shift
top=$(cd "$(dirname "$0")/../../.." && pwd)
home=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server"; } || true
    rm -rf "$home"
}
trap finish EXIT
log=$home/run.log
run() { # EXPECTED EXIT CODE
    local status=0
    "$px" --quiet run --ds "$ds" >>"$log" 2>&1 || status=$?
    if [ "$status" != "$1" ]; then
        cat "$log"
        echo "px run: exit $status, expected $1"
        exit 1
    fi
}
mkdir "$home/company"
(cd "$top/examples/company" && cp -r pipeline.yaml make_orders.py data tour "$home/company/")
cd "$home/company"
ds=2026-11-20
python3 make_orders.py
run 0
cp tour/hiring-plan-2026.md data/documents/reports/
run 0
cp tour/broken_header.csv data/reports/
run 3
rm data/reports/broken_header.csv
"$px" --json serve --port 0 >url.json 2>serve.log &
server=$!
for _ in $(seq 1 600); do
    [ -s url.json ] && break
    if ! kill -0 "$server" 2>/dev/null; then
        cat serve.log
        echo "px serve ended"
        exit 1
    fi
    sleep 0.1
done
url=$(python3 -c 'import json; print(json.load(open("url.json"))["url"])')
status=0
node "$top/tests/e2e/web/page_test.mjs" "$url" "$@" || status=$?
[ "$status" = 0 ] || tail -n 20 serve.log
exit "$status"
