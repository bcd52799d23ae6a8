"""Processes that a fork server starts: `ForkServer` starts the server, `Forks` asks it, `Forked` is what subprocess.Popen is elsewhere."""

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PROGRAM = Path(__file__).parent / "forkserver.py"
ROOT = Path(__file__).parent.parent.parent


class ForkServer:
    """The server's process; it and its children end with `close`, or with this process."""

    def __init__(self, python: Path, socket_path: Path, modules: Sequence[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "KOHAKU_HUB", "HF_"))}
        command = [str(python), str(PROGRAM), str(socket_path), *modules]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, env=environment)
        self.forks = Forks(str(socket_path))

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", f"{PROGRAM.name} did not start"

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(30)


class Forked:
    """A running child, with the methods of subprocess.Popen that the tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = b""
        self.pid = self._next_number(30)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            try:
                self.returncode = self._next_number(timeout)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(["forked"], timeout or 0) from None
            self._connection.close()
        return self.returncode

    def _next_number(self, timeout: float | None) -> int:
        self._connection.settimeout(timeout)
        while b"\n" not in self._heard:
            more = self._connection.recv(64)
            self._heard += more or b"-9\n"  # the server is gone, and its children with it
        line, _, self._heard = self._heard.partition(b"\n")
        return int(line)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Program:
    """What is started: forked from a process that has imported it (`tests/harness`), or by its command."""

    forked: dict[str, str]
    command: tuple[str, ...]


@dataclass(frozen=True)
class Forks:
    """Asks the fork server that listens on `socket_path`; may be sent to another process."""

    socket_path: str

    def start(
        self,
        what: Mapping[str, str],
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdin: IO[Any] | None = None,
        stdout: IO[Any],
        stderr: IO[Any],
    ) -> Forked:
        """`what` is {"module": name} or {"code": text}. Standard input is empty unless it is given."""
        request = {**what, "arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket_path)
        line = json.dumps(request).encode() + b"\n"
        with Path(os.devnull).open("rb") as empty:
            streams = [(stdin or empty).fileno(), stdout.fileno(), stderr.fileno()]
            sent = socket.send_fds(connection, [line], streams)
            connection.sendall(line[sent:])
        return Forked(connection)

    def run(
        self,
        what: Mapping[str, str],
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdin: str = "",
        timeout: float,
    ) -> "subprocess.CompletedProcess[str]":
        """As subprocess.run with captured text. Raises subprocess.TimeoutExpired after killing the child."""
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
            given.write(stdin)
            given.seek(0)
            child = self.start(what, arguments, environment=environment, folder=folder, stdin=given, stdout=said, stderr=errors)
            try:
                status = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(30)
                raise
            for stream in (said, errors):
                stream.seek(0)
            return subprocess.CompletedProcess([*what.values(), *arguments], status, said.read(), errors.read())
