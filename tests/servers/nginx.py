"""A real nginx on loopback, on a free port, as whoever runs the tests, with every file of its own in one folder. `nginx.sh` gets it."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.servers.postgres import free_port

PROGRAM = Path(__file__).parent.parent.parent / ".venv" / "bin" / "nginx"
_START_SECONDS = 30
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# In the foreground, and the files of the site are the caller's.
_MAIN = """daemon off;
pid {folder}/pid;
error_log {folder}/error.log warn;
{user}worker_processes {workers};
events {{ worker_connections 512; }}
http {{
    {temporary}
    access_log {folder}/access.log;
    types {{ text/html html; text/css css; text/javascript js; application/json json; image/svg+xml svg; }}
    default_type application/octet-stream;
    include {site};
}}
"""


def missing() -> str:
    """What there is to do before this server can run; empty when nothing."""
    return "" if PROGRAM.exists() else "nginx is not here for the tests: run sh tests/servers/nginx.sh"


class NginxServer:
    """`site` is what stands within http { }, as a file of conf.d: `server`, `upstream`, `map`. @PORT@ in it is our port.

    `replaced` puts other text for what fits another machine only: {"listen 28080": "listen 127.0.0.1:@PORT@"}. All of it must be there.
    """

    def __init__(self, folder: Path, site: str, replaced: dict[str, str] | None = None, port: int = 0, workers: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        for old, new in (replaced or {}).items():
            assert old in site, f"the site has no {old!r} to replace"
            site = site.replace(old, new)
        (folder / "site.conf").write_text(site.replace("@PORT@", str(self.port)))
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY)
        # Only a master that runs as root can and must name another user; the tests' folders are root's then.
        user = "user root;\n" if os.geteuid() == 0 else ""
        main = _MAIN.format(folder=folder, user=user, workers=workers, temporary=temporary, site=folder / "site.conf")
        (folder / "nginx.conf").write_text(main)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it takes connections. Raises AssertionError with what it said about a configuration that it refuses."""
        command = [str(PROGRAM), "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", str(self.folder / "nginx.conf")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise AssertionError(f"nginx did not start:\n{self._said()}")

    def running(self) -> "subprocess.Popen[bytes]":
        """Its master; the workers are children of it."""
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        """At once, connections too; the master takes its workers along."""
        process = self.running()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def _said(self) -> str:
        logs = (self.folder / "log", self.folder / "error.log")
        return "".join(log.read_text("utf-8", "replace")[-3000:] for log in logs if log.exists())
