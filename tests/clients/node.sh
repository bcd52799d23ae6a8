#!/bin/sh
# The clients in JavaScript that tests/clients/node/package.json names, in .venv/clients/node, for the Node.js of this machine.
set -eu
. tests/servers/cache.sh
command -v node >/dev/null && command -v npm >/dev/null || { echo "The JavaScript clients are not installed: there is no Node.js on this machine." >&2; exit 1; }
kept=clients/node-$( (cat tests/clients/node/package-lock.json; node --version) | sha256sum | cut -c1-16)
mkdir -p "$cache/clients"
lock "$kept"
if [ ! -e "$cache/$kept/installed" ]; then
    rm -rf "${cache:?}/$kept"
    mkdir -p "$cache/$kept"
    cp tests/clients/node/package.json tests/clients/node/package-lock.json "$cache/$kept"
    (cd "$cache/$kept" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    touch "$cache/$kept/installed"
fi
rm -rf .venv/clients/node
link "$kept" clients/node
