"""versitygw on loopback: a second S3 server for the contracts, by other makers. `versitygw.sh` gets it.

Its objects are plain files, so there is no key that is also the folder of another one.
"""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.servers.postgres import free_port
from tests.servers.s3 import S3Server, wait_until_writable

PROGRAM = Path(__file__).parent.parent.parent / ".venv" / "bin" / "versitygw"


def missing() -> str:
    """What there is to do before this server can run; empty when nothing."""
    return "" if PROGRAM.exists() else "versitygw is not here for the tests: run sh tests/servers/versitygw.sh"


def start(folder: Path) -> tuple[S3Server, Callable[[], None]]:
    """The server, and what ends it."""
    folder.mkdir()
    server = S3Server(f"http://127.0.0.1:{free_port()}", secrets.token_hex(8), secrets.token_hex(16), folder / "log")
    process = _spawn(folder, server)

    def kill() -> None:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)

    try:
        wait_until_writable(server, process)
    except AssertionError:
        kill()
        raise
    return server, kill


def _spawn(folder: Path, server: S3Server) -> "subprocess.Popen[bytes]":
    data, beside = folder / "data", folder / "meta"
    data.mkdir()
    beside.mkdir()
    options = [] if _keeps_attributes(data) else ["--sidecar", str(beside)]
    command = [str(PROGRAM), "--region", "us-east-1", "--port", server.endpoint.removeprefix("http://"), "posix", *options, str(data)]
    keys = {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOMEMLIMIT": "200MiB", **keys}
    with server.log.open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)


def _keeps_attributes(folder: Path) -> bool:
    """Whether the file system has extended attributes, where it keeps what is to be known of an object."""
    try:
        os.setxattr(folder, "user.probe", b"1")
        os.removexattr(folder, "user.probe")
    except OSError:
        return False
    return True
