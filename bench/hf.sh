#!/bin/bash
# bench/hf.sh [SCALE]: what the Hugging Face client does against this hub (embedded default, one worker): snapshot of many small files, tree,
# uploads, resolve, commits; then Xet ingest. The driver is ../shared/bench/bench_hf.py; its full sizes are scale 1.
set -eu
scale=${1:-1}
here=$(dirname "$(realpath "$0")") shared=${BENCH_SHARED:-$(dirname "$0")/../../shared/bench} port=28182
[ -d "$shared" ] || { echo "The drivers of the benchmarks are not part of this repository: set BENCH_SHARED to their folder." >&2; exit 1; }
shared=$(realpath "$shared")
bin=$here/../.venv/bin client=$here/../.venv/clients/newest/bin work=$(mktemp -d) hub=http://127.0.0.1:28182
printf 'a bench password\n' | "$bin/kohakuhub" admin create-user hub --email hub@example.org --password-stdin --data "$work/data" >/dev/null
token=$("$bin/kohakuhub" admin create-token hub --name bench --data "$work/data")
"$bin/kohakuhub" serve --port $port --data "$work/data" 2>"$work/log" & server=$!
trap 'kill $server; wait $server; rm -rf "$work"' EXIT
sleep 2
HF_ENDPOINT=$hub HF_TOKEN=$token HOME=$work "$client/python" "$shared/bench_hf.py" --scale "$scale" --xet 1 --server-pid "hub=$server" --label hub \
    --only snapshot,tree,upload_small,upload_lfs,commits
curl -sf -o /dev/null -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"type":"model","name":"xet","init":true}' "$hub/api/repos/create"
"$bin/python" "$here/xet.py" "$hub" hub/xet "$token" --pid $server
"$bin/python" "$here/xet.py" "$hub" hub/xet "$token" --pid $server --compressed
curl -sf -o /dev/null -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"type":"model","name":"one","init":true}' "$hub/api/repos/create"
"$bin/python" "$here/resolve.py" "$hub" hub/one "$token" .gitattributes --pid $server
grep -E 'VmHWM|VmRSS' "/proc/$server/status"
