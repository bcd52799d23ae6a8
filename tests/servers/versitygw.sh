#!/bin/sh
# versitygw, the second S3 server of the tests, in .venv/bin/versitygw: built from tests/servers/versitygw, else one that is installed.
set -eu
target=.venv/bin/versitygw
sh tests/servers/gobuild.sh versitygw github.com/versity/versitygw/cmd/versitygw "-X main.Version=v1.8.0" && exit 0
[ -x "$target" ] && exit 0
installed=$(PATH=$(echo "$PATH" | tr ':' '\n' | grep -v '/\.venv/bin$' | paste -sd: -) command -v versitygw || true)
if [ -n "$installed" ]; then ln -sfn "$installed" "$target"; exit 0; fi
rm -f "$target"
echo "versitygw is missing: install Go 1.26 (it builds tests/servers/versitygw), or put a versitygw on PATH." >&2
exit 1
