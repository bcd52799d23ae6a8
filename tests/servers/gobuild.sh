#!/bin/sh
# A server written in Go, built from a Go module of ours, whose go.sum holds the hash of every source.
#   sh tests/servers/gobuild.sh NAME PACKAGE LDFLAGS
# prints the program's path. It lies in a cache outside the tree, in a folder named by the hash of that go.sum.
set -eu
name=$1 package=$2 flags=$3
module=$(cd "$(dirname "$0")/$name" && pwd)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/kohakuhub/$name-$(sha256sum "$module/go.sum" | cut -c1-16)"
if [ ! -x "$folder/$name" ]; then
    [ -d /usr/local/go/bin ] && PATH="$PATH:/usr/local/go/bin"
    command -v go >/dev/null || { echo "$name is not built: there is no Go on this machine." >&2; exit 1; }
    mkdir -p "$folder"
    aside=$(mktemp -d "$folder/build.XXXXXX")
    trap 'rm -rf "$aside"' EXIT
    echo "Building $name: this takes a few minutes, once." >&2
    (cd "$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off nice go build -trimpath -ldflags "-s -w $flags" -o "$aside/$name" "$package") >&2
    mv "$aside/$name" "$folder/$name"
fi
echo "$folder/$name"
