#!/bin/sh
# The Hugging Face clients that the tests drive, each set of Python packages in its own environment, .venv/clients/NAME.
#   sh tests/clients/install.sh [NAME ...]
# The environments lie in the cache, in folders named by what is wanted in them and by the Python that runs them.
set -eu
. tests/servers/cache.sh
[ $# -gt 0 ] || set -- newest 1.29 0.36
for name; do
    wanted=tests/clients/requirements-$name.txt
    kept=clients/$name-$( (cat "$wanted"; "${PYTHON:-python3}" -VV; readlink -f "$(command -v "${PYTHON:-python3}")") | sha256sum | cut -c1-16)
    mkdir -p "$cache/clients"
    lock "$kept"
    if [ ! -e "$cache/$kept/installed" ]; then
        rm -rf "${cache:?}/$kept"
        PYTHON="${PYTHON:-python3}" sh .ci/venv "$cache/$kept"
        "$cache/$kept/bin/python" -m pip install -q -r "$wanted"
        touch "$cache/$kept/installed"
    fi
    rm -rf ".venv/clients/$name"
    link "$kept" "clients/$name"
done
