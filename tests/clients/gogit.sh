#!/bin/sh
# The client on go-git, in .venv/bin/gogit: built from tests/clients/gogit.
set -eu
sh tests/servers/gobuild.sh gogit . "" tests/clients/gogit
