#!/bin/sh
# A program written in Go, built from a Go module of ours, whose go.sum holds the hash of every source.
#   sh tests/servers/gobuild.sh NAME PACKAGE LDFLAGS [FOLDER]
# makes .venv/bin/NAME of the module in FOLDER, usually tests/servers/NAME. The program lies in the cache, in a folder named by the hash of that
# go.sum and of our own sources beside it.
set -eu
. tests/servers/cache.sh
name=$1 package=$2 flags=$3
module=${4:-tests/servers/$name}
sources=$(find "$module" -name '*.go' | sort)
# shellcheck disable=SC2086  none of our sources has a space in its name
kept=$name-$(cat "$module/go.sum" $sources | sha256sum | cut -c1-16)
lock "$name"
if [ ! -x "$cache/$kept/$name" ]; then
    [ -d /usr/local/go/bin ] && PATH="$PATH:/usr/local/go/bin"
    command -v go >/dev/null || { echo "$name is not built: there is no Go on this machine." >&2; exit 1; }
    mkdir -p "$cache/$kept"
    aside=$(mktemp -d "$cache/$kept/build.XXXXXX")
    trap 'rm -rf "$aside"' EXIT
    echo "Building $name: this takes a few minutes, once." >&2
    (cd "$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off nice go build -trimpath -ldflags "-s -w $flags" -o "$aside/$name" "$package") >&2
    mv "$aside/$name" "$cache/$kept/$name"
fi
link "$kept/$name" "bin/$name"
