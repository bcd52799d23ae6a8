"""A running hub for the tests: the real command, on a free port, with its own data, stopped by whoever started it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.harness.forked import Forked, Forks, Program
from tests.harness.run import shared
from tests.two_users import make_users

ROOT = Path(__file__).parent.parent.parent
COMMAND = Path(sys.executable).parent / "kohakuhub"
Process: TypeAlias = "subprocess.Popen[bytes] | Forked"
GUARDED = Program({"module": "tests.guarded_hub"}, (sys.executable, "-m", "tests.guarded_hub"))
VERB = Program({"code": "from hub.command.line import main; main()"}, (str(COMMAND),))


@dataclass(frozen=True)
class Hub:
    """A running hub with two users."""

    url: str
    data: Path
    log: Path
    process: Process
    token: str
    token2: str
    user: str = "alice"
    user2: str = "bob"
    launcher: "Launcher | None" = None

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str) -> "Answer":
        """A request as `token` ("" for nobody, None for alice)."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.token if token is None else token
        if token:
            shown.setdefault("Authorization", f"Bearer {token}")
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            shown.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data, shown, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def repo(self, kind: str = "model", *, private: bool = False) -> str:
        """A new repository of alice's; its full name."""
        name = "t" + uuid.uuid4().hex[:12]
        answer = self.call("POST", "/api/repos/create", {"type": kind, "name": name, "private": private})
        assert answer.status == 200, answer
        return f"{self.user}/{name}"

    def git_url(self, name: str, *, token: str | None = None) -> str:
        secret = self.token if token is None else token
        return self.url.replace("://", f"://{self.user}:{secret}@") + f"/{name}.git"

    def admin(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """An operator's verb beside the running hub."""
        assert self.launcher is not None
        return self.launcher.admin(*arguments)

    def wait_until_tidy(self) -> None:
        """Nothing is left of what came in; a client may have its answer a moment before."""
        until = time.monotonic() + 10
        while left := list((self.data / "incoming").iterdir()):
            assert time.monotonic() < until, left
            time.sleep(0.01)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> "object":
        return json.loads(self.body)


class Launcher:
    """Starts hubs on a data directory; the caller stops them, and `close` ends those that a failed test left.

    With `is_real` everything is started as an operator would; without, which takes a second less, it is forked.
    """

    def __init__(self, data: Path, environment: dict[str, str] | None = None, *, is_real: bool = False) -> None:
        self.data = data
        self.environment = environment or {}
        self.tokens: dict[str, str] = {}
        self._is_real = is_real
        self._started: list[Process] = []

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(30)

    def admin(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        words = ["admin", *arguments, "--data", str(self.data)]
        if not self._is_real:
            return hub_forks().run(VERB.forked, words, environment=environment, folder=Path.cwd(), stdin=stdin, timeout=120)
        command = [*VERB.command, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment)

    def users(self) -> None:
        self.tokens = make_users(self.data, self.environment)

    def start(self, *options: str, command: tuple[str, ...] = (), environment: dict[str, str] | None = None) -> Hub:
        """`command` is another one that takes these arguments and is a hub in the end; it is started as it is."""
        program = Program({}, command) if command else GUARDED
        return self.run(program, environment or {}, "serve", "--port", "0", "--data", str(self.data), *options)

    def run(self, program: Program, environment: dict[str, str], *arguments: str) -> Hub:
        """Any program that is a hub in the end."""
        log = self.data.with_name(f"{self.data.name}-{uuid.uuid4().hex[:6]}.log")
        environment = {**os.environ, **self.environment, **environment}
        with log.open("wb") as out:
            process: Process
            if self._is_real or not program.forked:
                process = subprocess.Popen([*program.command, *arguments], stderr=out, stdout=out, cwd=ROOT, env=environment)
            else:
                process = hub_forks().start(program.forked, arguments, environment=environment, folder=ROOT, stdout=out, stderr=out)
        self._started.append(process)
        try:
            url = wait_for_url(log, process)
        except AssertionError:
            process.kill()
            process.wait(30)
            raise
        return Hub(url, self.data, log, process, self.tokens.get("alice", ""), self.tokens.get("bob", ""), launcher=self)


def hub_forks() -> Forks:
    forks: Forks = shared("hub")
    return forks


def wait_for_url(log: Path, process: Process) -> str:
    """The address from the start-up lines, once /healthz answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"KohakuHub is at (http://[^\s\"]+)", log.read_text("utf-8"))
        if found:
            try:
                with urllib.request.urlopen(found[1] + "/healthz", timeout=5):
                    return found[1]
            except OSError:
                pass
        time.sleep(0.02)
    raise AssertionError(f"the hub did not start:\n{log.read_text('utf-8')}")


def run_guarded(launcher: Launcher, environment: dict[str, str], *options: str) -> Iterator[Hub]:
    if not launcher.tokens:
        launcher.users()
    running = launcher.start(*options, environment=environment)
    yield running
    assert running.stop() == 0
    check_log(running)


def check_log(hub: Hub) -> None:
    unexpected = [line for line in hub.log.read_text("utf-8").splitlines() if "unexpected error" in line or "BlockingError" in line]
    assert not unexpected, unexpected
