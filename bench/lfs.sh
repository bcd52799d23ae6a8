#!/bin/bash
# bench/lfs.sh [GB]: Git LFS and /resolve of this hub (embedded default, one worker) on loopback, with the driver of ../shared/bench. Prints
# what it measured. Run it on a quiet machine.
set -eu
here=$(dirname "$(realpath "$0")") shared=${BENCH_SHARED:-$(dirname "$0")/../../shared/bench}
[ -d "$shared" ] || { echo "The drivers of the benchmarks are not part of this repository: set BENCH_SHARED to their folder." >&2; exit 1; }
shared=$(realpath "$shared")
bin=$here/../.venv/bin work=$(mktemp -d) hub=http://127.0.0.1:28181
stop() { kill "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
printf 'a bench password\n' | "$bin/kohakuhub" admin create-user hub --email hub@example.org --password-stdin --data "$work/data" >/dev/null
token=$("$bin/kohakuhub" admin create-token hub --name bench --data "$work/data")
"$bin/kohakuhub" serve --port 28181 --data "$work/data" 2>"$work/log" & server=$!
trap stop EXIT
sleep 2
curl -sf -o /dev/null -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"type":"model","name":"lfs"}' "$hub/api/repos/create"
"$bin/python" "$shared/bench_lfs.py" --base "$hub" --repo hub/lfs --user hub --token "$token" --pids "$server" --gb "${1:-1}" --seconds 4
git clone -q "http://hub:$token@127.0.0.1:28181/hub/lfs" "$work/lfs" 2>/dev/null
(
    cd "$work/lfs" && export PATH="$bin:$PATH" HOME=$work
    git lfs install --local >/dev/null && git lfs track '*.bin' >/dev/null
    head -c 2000 /dev/urandom >small.txt && head -c 100000 /dev/urandom >large.bin && git add -A
    git -c user.name=b -c user.email=b@example.org commit -qm bench && git push -q origin HEAD:main
)
"$bin/python" "$here/resolve.py" "$hub" hub/lfs "$token" small.txt large.bin --pid "$server"
grep -E 'VmHWM|VmRSS' "/proc/$server/status"
