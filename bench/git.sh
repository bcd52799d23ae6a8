#!/bin/bash
# bench/git.sh REPO.git [RUNS]: this hub, C git's http-backend (nginx, fcgiwrap; receive.fsckObjects, after git gc) and dulwich's own server,
# one after the other on one repository, driven by the real git client through the driver of ../shared/bench. Prints a Markdown table with
# ratios. Needs root and Debian's nginx-light and fcgiwrap. DULWICH=0 leaves dulwich out, which takes minutes on a large repository.
set -eu
repo=$(realpath "$1") runs=${2:-5}
here=$(dirname "$(realpath "$0")") shared=${BENCH_SHARED:-$(dirname "$0")/../../shared/bench}/git
[ -d "$shared" ] || { echo "The drivers of the benchmarks are not part of this repository: set BENCH_SHARED to their folder." >&2; exit 1; }
shared=$(realpath "$shared")
bin=$here/../.venv/bin work=$(mktemp -d) hub=http://127.0.0.1:28181 cgit=http://127.0.0.1:28190 dulwich=http://127.0.0.1:28195
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
stop() { kill "$server" "$other" $nginx $shim 2>/dev/null || true; kill -- -"$fcgi" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
printf 'a bench password\n' | "$bin/kohakuhub" admin create-user hub --email hub@example.org --password-stdin --data "$work/data" >/dev/null
token=$("$bin/kohakuhub" admin create-token hub --name bench --data "$work/data")
"$bin/kohakuhub" serve --port 28181 --data "$work/data" 2>"$work/log" & server=$!
"$bin/python" "$shared/reference/dulwich_server.py" web 28195 "$work/dulwich" hub "$token" 2>"$work/log2" & other=$!
read -r nginx fcgi shim < <(TMPDIR=$work HUB_TOKEN=$token "$shared/reference/start_cgit.sh" 28190 "$work/cgit")
trap stop EXIT
for address in "$hub/healthz" "$cgit" "$dulwich"; do curl -s --retry 60 --retry-delay 1 --retry-connrefused -o /dev/null "$address"; done
measure() { # SERVER NAME OPERATIONS RUNS
    local make=(--create-api "${!1}/api/repos/create")
    # The reference makes repositories without receive.fsckObjects where it is measured: here it has to check as we do.
    [ "$1" != cgit ] || make=(--new-repo-cmd "git init -q --bare -b main $work/cgit/hub/{name}.git && cat $work/cgit/hub/bench.git/config >$work/cgit/hub/{name}.git/config")
    python3 "$shared/bench_git.py" --url "${!1}/hub/bench.git" --name "$2-repo" --repo "$repo" --pids "$pids" --runs "$4" --ops "$3" --jobs 8 --jobs-runs 2 \
        ${cgroup:+--cgroup "$cgroup"} --user hub --token "$token" "${make[@]}" --new-url "${!1}/{user}/{name}.git" --timeout 1800 --out "$work/$2.json" >/dev/null
}
all=${OPS:-ls_remote,clone_bare,clone_depth1,clone_blobless,clone_blobless_checkout,fetch_1,fetch_100,push_1,concurrent_clone}
for name in hub cgit $([ "${DULWICH:-1}" = 0 ] || echo dulwich); do
    case $name in hub) pids=$server ;; cgit) pids=$nginx,$fcgi ;; dulwich) pids=$other ;; esac
    curl -sf -o /dev/null -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d '{"type":"model","name":"bench"}' "${!name}/api/repos/create"
    cgroup=$("$shared/in_cgroup.sh" "bench-$name-$$" ${pids//,/ } 2>/dev/null || true)
    git -c "http.extraHeader=Authorization: Bearer $token" -C "$repo" push -q "${!name}/hub/bench.git" 'refs/heads/*:refs/heads/*' 'refs/tags/*:refs/tags/*'
    if [ $name = cgit ]; then
        git -C "$work/cgit/hub/bench.git" config receive.fsckObjects true
        git -C "$work/cgit/hub/bench.git" gc -q
        git -C "$work/cgit/hub/bench.git" commit-graph write --reachable --no-progress
    fi
    # What a server does in the background after a push comes first, as C git's gc does: of a large repository that is its reachability.
    for _ in $([ $name != hub ] || seq 120); do compgen -G "$work/data/prepared/*/reach-*" >/dev/null && break; sleep 1; done
    sleep 5
    case $name in
    hub) measure hub hubcold clone_bare,clone_depth1,clone_blobless 1 && measure hub hub "$all" "$runs" ;;
    cgit) measure cgit cgit $all "$runs" ;;
    dulwich) measure dulwich dulwich "${all%,concurrent_clone}" 1 ;;
    esac
    # Once and last: what a server does after it would be in the figures of what follows.
    [ -n "${OPS:-}" ] || measure $name ${name}last push_all 1
done
"$bin/python" "$here/ratios.py" "$work"
grep -E 'VmHWM|VmRSS|RssAnon' "/proc/$server/status"
