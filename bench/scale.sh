#!/bin/bash
# bench/scale.sh [FILES [COMMITS [FOLDER]]]: what a large repository costs (embedded default, one worker): it is made, pushed, and indexed; then the hub is
# started again and asked. FOLDER keeps the history and the hub's data: another run with it only asks.
set -eu
files=${1:-200000} commits=${2:-3000} here=$(dirname "$(realpath "$0")") port=28183
bin=$here/../.venv/bin kept=${3:-} work=${3:-$(mktemp -d)} url=http://127.0.0.1:28183
server=
stop() { [ -z "$server" ] || { kill "$server"; wait "$server" || true; server=; }; }
finish() { stop; [ -n "$kept" ] || rm -rf "$work"; }
trap finish EXIT
start() {
    "$bin/kohakuhub" serve --port $port --data "$work/data" 2>>"$work/log" & server=$!
    until curl -sf -o /dev/null $url/readyz; do kill -0 $server; sleep 0.2; done
}
if [ ! -e "$work/pushed" ]; then
    mkdir -p "$work"
    rm -rf "$work/big.git" "$work/data"
    "$bin/python" "$here/large_history.py" "$work/big.git" "$files" "$commits"
    printf 'a bench password\n' | "$bin/kohakuhub" admin create-user hub --email hub@example.org --password-stdin --data "$work/data" >/dev/null
    "$bin/kohakuhub" admin create-token hub --name bench --data "$work/data" >"$work/token"
    start
    git -C "$work/big.git" push -q "http://hub:$(cat "$work/token")@127.0.0.1:$port/hub/big.git" main
    stop
    "$bin/kohakuhub" admin repack hub/big --data "$work/data" # the index and what else is made after a push
    touch "$work/pushed"
fi
start
"$bin/python" "$here/scale.py" $url hub/big "$(cat "$work/token")" $server
