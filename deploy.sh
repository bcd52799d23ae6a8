#!/bin/sh
# Start or renew the whole hub on this machine by docker compose, and wait until it answers.
set -eu
cd "$(dirname "$0")"
wait_seconds=${DEPLOY_WAIT_SECONDS:-300}

say() { printf '%s\n' "$*"; }
fail() { printf 'deploy: %s\n' "$*" >&2; exit 1; }

command -v docker >/dev/null || fail "docker is not installed. Install Docker Engine with the compose plugin first."
docker compose version >/dev/null 2>&1 || fail "docker has no compose plugin. Install the package docker-compose-plugin (2.20 or newer)."
docker info >/dev/null 2>&1 || fail "the docker engine does not answer. Start it, or use an account that may use it (group docker)."

if [ ! -e docker-compose.yml ]; then
    cp docker-compose.example.yml docker-compose.yml
    say "made docker-compose.yml from the example"
fi
docker build -q -t kohakuhub-api -f docker/Dockerfile . >/dev/null || fail "the image could not be built; run: docker build -t kohakuhub-api -f docker/Dockerfile ."
if [ ! -e .env ]; then
    new=$(mktemp .env.XXXXXX)
    trap 'rm -f "$new"' EXIT
    docker run --rm --network none kohakuhub-api kohakuhub secrets - >"$new" || fail "the secrets could not be made"
    chmod 600 "$new"
    ln "$new" .env || fail ".env appeared meanwhile; nothing was overwritten"
    say "made .env with every secret. Keep a copy of it where this machine's disk is not."
fi
# A .env from before there was a choice: the S3 server stays what it was.
if ! grep -q '^COMPOSE_PROFILES=' .env && grep -q 'profiles: \[seaweedfs' docker-compose.yml; then
    printf '\nCOMPOSE_PROFILES=seaweedfs\n' >>.env
    say "wrote COMPOSE_PROFILES=seaweedfs into .env: the S3 server stays SeaweedFS"
fi
docker run --rm -i --network none kohakuhub-api kohakuhub secrets --check - <.env || fail "correct .env first (see above)"

docker compose up -d --build --remove-orphans || fail "compose could not start everything; look at: docker compose ps, docker compose logs"

waited=0
until docker compose exec -T hub-ui wget -q -O /dev/null http://127.0.0.1/readyz 2>/dev/null; do
    [ "$waited" -ge "$wait_seconds" ] && fail "the hub is not ready after $wait_seconds seconds; look at: docker compose ps, docker compose logs hub-api"
    sleep 2
    waited=$((waited + 2))
done
say "KohakuHub is at http://localhost:28080"
say "first account: docker compose exec hub-api kohakuhub admin create-user NAME --email YOU@EXAMPLE.ORG --admin"
say "check it all:  docker compose exec hub-api kohakuhub doctor http://hub-ui"
