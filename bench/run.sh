#!/bin/bash
# bench/run.sh REPO.git [RUNS]: this hub and C git's http-backend (nginx, fcgiwrap) side by side on one repository, with the drivers
# and the reference of ../shared/bench. Prints Markdown tables. Needs root and Debian's nginx-light and fcgiwrap; run it on a quiet machine.
set -eu
repo=$(realpath "$1") runs=${2:-3}
here=$(dirname "$(realpath "$0")") shared=$(realpath "$(dirname "$0")/../../shared/bench")
bin=$here/../.venv/bin work=$(mktemp -d) hub=http://127.0.0.1:28181 cgit=http://127.0.0.1:28190
stop() { kill "$server" $nginx $shim 2>/dev/null || true; kill -- -"$fcgi" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
printf 'a bench password\n' | "$bin/kohakuhub" admin create-user hub --email hub@example.org --password-stdin --data "$work/data" >/dev/null
token=$("$bin/kohakuhub" admin create-token hub --name bench --data "$work/data")
"$bin/kohakuhub" serve --port 28181 --data "$work/data" 2>"$work/log" & server=$!
read -r nginx fcgi shim < <(TMPDIR=$work HUB_TOKEN=$token "$shared/git/reference/start_cgit.sh" 28190 "$work/cgit")
trap stop EXIT
sleep 2
for name in hub cgit; do
    url=${!name} pids=$server
    [ $name = cgit ] && pids=$nginx,$fcgi
    curl -sf -o /dev/null -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"type":"model","name":"bench"}' "$url/api/repos/create"
    cgroup=$("$shared/git/in_cgroup.sh" "bench-$name-$$" ${pids//,/ } 2>/dev/null || true)
    python3 "$shared/git/bench_git.py" --url "$url/hub/bench.git" --name "$name-repo" --repo "$repo" --pids "$pids" --runs "$runs" --jobs 4 --jobs-runs 1 \
        ${cgroup:+--cgroup "$cgroup"} --user hub --token "$token" --seed --create-api "$url/api/repos/create" --new-url "$url/{user}/{name}.git" \
        --out "$work/$name.json" >/dev/null
done
python3 "$shared/git/table.py" "$work/hub.json" "$work/cgit.json"
curl -sf -o /dev/null -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"type":"model","name":"lfs"}' "$hub/api/repos/create"
"$bin/python" "$shared/bench_lfs.py" --base "$hub" --repo hub/lfs --user hub --token "$token" --pids "$server" --gb 1 --seconds 4
git clone -q "http://hub:$token@127.0.0.1:28181/hub/lfs" "$work/lfs" 2>/dev/null
(
    cd "$work/lfs" && export PATH="$bin:$PATH" HOME=$work
    git lfs install --local >/dev/null && git lfs track '*.bin' >/dev/null
    head -c 2000 /dev/urandom >small.txt && head -c 100000 /dev/urandom >large.bin && git add -A
    git -c user.name=b -c user.email=b@example.org commit -qm bench && git push -q origin HEAD:main
)
"$bin/python" "$here/resolve.py" "$hub" hub/lfs "$token" small.txt large.bin --pid "$server"
grep -E 'VmHWM|VmRSS' "/proc/$server/status"
