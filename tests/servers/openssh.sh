#!/bin/sh
# The ssh client for the tests of SSH: the machine's, else Debian's package.
set -eu
command -v ssh >/dev/null && command -v ssh-keygen >/dev/null && exit 0
if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
$root apt-get update -q && $root apt-get install -y -q --no-install-recommends openssh-client || true
command -v ssh >/dev/null && exit 0
echo "The ssh client could not be installed: the tests with it are skipped (in CI they fail)." >&2
