#!/bin/sh
# LakeFS for the tests, in .venv/bin/lakefs: built from tests/servers/lakefs, else one that is installed, else the one of the makers' image.
set -eu
version=1.84.0 target=.venv/bin/lakefs
fits() { "$1" --version 2>/dev/null | grep -Eq ' 1\.8[456]\.'; }

sh tests/servers/gobuild.sh lakefs github.com/treeverse/lakefs/cmd/lakefs "-X github.com/treeverse/lakefs/pkg/version.Version=$version" && exit 0
if [ -x "$target" ] && fits "$target"; then exit 0; fi
# The environment itself may be the first on PATH.
installed=$(PATH=$(echo "$PATH" | tr ':' '\n' | grep -v '/\.venv/bin$' | paste -sd: -) command -v lakefs || true)
if [ -n "$installed" ] && fits "$installed"; then
    ln -sfn "$installed" "$target"
    exit 0
fi
if command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; then
    container=$(docker create "treeverse/lakefs:$version")
    docker cp -q "$container:/app/lakefs" "$target.new" || true
    docker rm "$container" >/dev/null
    # It runs as an ordinary process, so that the tests can kill it.
    if [ -x "$target.new" ] && fits "$target.new"; then mv "$target.new" "$target"; exit 0; fi
    rm -f "$target.new"
fi
rm -f "$target"
echo "LakeFS is missing: install Go 1.26 (it builds tests/servers/lakefs), or put a lakefs 1.84-1.86 on PATH, or start docker." >&2
exit 1
