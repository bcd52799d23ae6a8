"""PostgreSQL refuses, is silent, breaks off, is slow, or dies under load: clear refusals, nothing hangs, nothing acknowledged is lost."""

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.writer import LFS_JSON, Writer
from tests.servers.postgres import PASSWORD, Postgres, PostgresServer
from tests.servers.proxy import Fault, FaultProxy

ROUNDS = int(os.environ.get("KOHAKU_CRASH_ROUNDS", "3"))
LIMITS = {"KOHAKU_HUB_LIMITS": json.dumps({"database_seconds": 1, "database_connect_seconds": 2})}
LONGEST = 20  # seconds for any answer; a client that is silent for one limit gets its answer long before


@dataclass(frozen=True)
class Place:
    """A hub that reaches PostgreSQL only through the proxy."""

    hub: Any
    proxy: FaultProxy
    name: str


@pytest.fixture(scope="module")
def place(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory, new_launcher: Any) -> Iterator[Place]:
    proxy = FaultProxy(postgres.port)
    url = postgres.create().replace(f":{postgres.port}/", f":{proxy.port}/")
    launcher = new_launcher(tmp_path_factory.mktemp("faults") / "data", {"KOHAKU_HUB_DATABASE_URL": url, **LIMITS})
    launcher.users()
    hub = launcher.start("--workers", "2")
    yield Place(hub, proxy, hub.repo())
    assert hub.stop() == 0
    text = hub.log.read_text()
    assert "unexpected error" not in text
    assert not any(secret in text for secret in (PASSWORD, url.split(":")[2].split("@")[0]))
    proxy.close()


def ask(hub: Any, name: str) -> dict[str, Any]:
    """One request of each dialect, at once: reads and writes."""
    commit = b'{"key":"header","value":{"summary":"s"}}\n{"key":"file","value":{"path":"a","content":"YQ==","encoding":"base64"}}\n'
    batch = {"operation": "download", "objects": [{"oid": "0" * 64, "size": 1}]}
    requests: dict[str, Callable[[], Any]] = {
        "git read": lambda: hub.call("GET", f"/{name}.git/info/refs?service=git-upload-pack", Git_Protocol="version=2"),
        "git write": lambda: hub.call("GET", f"/{name}.git/info/refs?service=git-receive-pack"),
        "lfs": lambda: hub.call("POST", f"/{name}.git/info/lfs/objects/batch", batch, Content_Type=LFS_JSON),
        "hf read": lambda: hub.call("GET", f"/api/models/{name}"),
        "hf write": lambda: hub.call("POST", f"/api/models/{name}/commit/main", commit, Content_Type="application/x-ndjson"),
        "hf create": lambda: hub.call("POST", "/api/repos/create", {"type": "model", "name": f"n{random.randrange(10**9)}"}),
        "ready": lambda: hub.call("GET", "/readyz", token=""),
        "health": lambda: hub.call("GET", "/healthz", token=""),
    }
    started = time.monotonic()
    with ThreadPoolExecutor(len(requests)) as pool:
        made = {what: pool.submit(request) for what, request in requests.items()}
        answers = {what: answer.result() for what, answer in made.items()}
    assert time.monotonic() - started < LONGEST
    return answers


def check_refused(answers: dict[str, Any]) -> None:
    """Each in its client's dialect, with the name of the database, and when to come again."""
    assert answers.pop("health").status == 200
    assert {what: answer.status for what, answer in answers.items()} == dict.fromkeys(answers, 503)
    assert {answer.headers.get("Retry-After") for answer in answers.values()} == {"5"}
    texts = {what: answer.body.decode() for what, answer in answers.items()}
    texts["hf read"] = answers["hf read"].headers["X-Error-Message"]
    assert [what for what, text in texts.items() if "PostgreSQL database" not in text] == []
    assert answers["ready"].json()["status"] == "unavailable"
    assert "does not answer" in answers["ready"].json()["database"]
    assert "does not answer" in answers["lfs"].json()["message"]
    assert texts["git read"].startswith("The PostgreSQL database")


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.SILENT, Fault.CUT], ids=lambda fault: fault.name.lower())
def test_every_dialect_gets_a_clear_503_and_then_all_is_well(place: Place, fault: Fault) -> None:
    hub, name = place.hub, place.name
    with place.proxy.fault(fault):
        refused = ask(hub, name)
    after = ask(hub, name)

    check_refused(refused)
    assert {what: answer.status for what, answer in after.items()} == dict.fromkeys(after, 200)


def test_a_slow_database_makes_slow_answers(place: Place) -> None:
    with place.proxy.fault(Fault.SLOW):
        answers = ask(place.hub, place.name)

    assert {what: answer.status for what, answer in answers.items()} == dict.fromkeys(answers, 200)


def test_a_push_that_loses_the_database_says_so(place: Place, tmp_path: Path) -> None:
    writer = Writer(place.hub, place.hub.repo(), tmp_path / "work")
    assert writer.push()
    hook = tmp_path / "work" / ".git" / "hooks" / "pre-push"  # runs when git knows the refs, and has sent nothing yet
    hook.write_text(f"#!/bin/sh\n: >{tmp_path}/here\nwhile [ -e {tmp_path}/here ]; do sleep 0.02; done\n")
    hook.chmod(0o755)
    with ThreadPoolExecutor(1) as pool:
        pushed = pool.submit(writer.push)
        while not (tmp_path / "here").exists():
            assert not pushed.done()
        with place.proxy.fault(Fault.REFUSED):
            (tmp_path / "here").unlink()
            assert pushed.result(60) is False
    hook.unlink()

    assert "error: 503" in writer.refusals[0]
    assert writer.push()
    writer.check_acknowledged()


def test_the_server_is_killed_under_load_and_the_hub_goes_on(launcher: Any, tmp_path: Path) -> None:
    server = PostgresServer()
    server.start()
    launcher.environment = {"KOHAKU_HUB_DATABASE_URL": server.create(), **LIMITS}
    launcher.users()
    hub = launcher.start("--workers", "2")
    writers = [Writer(hub, hub.repo(), tmp_path / f"work{number}") for number in range(2)]
    stop = threading.Event()
    moments = random.Random(20261124)
    with ThreadPoolExecutor(2) as pool:
        loops = [pool.submit(repeat, work, stop) for work in (writers[0].push, writers[1].upload)]
        for _ in range(ROUNDS):
            wait_for_more(loops, lambda: [len(writers[0].branches), len(writers[1].objects)])
            stop.wait(moments.uniform(0.0, 0.3))
            server.kill()
            wait_for_more(loops, lambda: [len(writer.refusals) for writer in writers])
            server.start()
        wait_for_more(loops, lambda: [len(writers[0].branches), len(writers[1].objects)])
        stop.set()
    for writer in writers:
        writer.check_acknowledged()
        assert [text for text in writer.refusals if "503" not in text and "PostgreSQL database" not in text] == []
    found = launcher.admin("check")

    assert (found.returncode, found.stdout) == (0, "")
    assert hub.stop() == 0
    assert "unexpected error" not in hub.log.read_text()
    server.remove()


def repeat(work: Callable[[], bool], stop: threading.Event) -> None:
    while not stop.is_set():
        work()


def wait_for_more(loops: list[Any], count: Callable[[], list[int]]) -> None:
    """Until each of the numbers has grown."""
    before, until = count(), time.monotonic() + 60
    while any(now <= then for now, then in zip(count(), before, strict=True)):
        assert time.monotonic() < until
        assert not any(loop.done() for loop in loops)
        time.sleep(0.01)


def test_a_hub_does_not_start_without_its_database(launcher: Any, postgres: Postgres) -> None:
    url = postgres.create()
    wrong = {
        url.replace("hub:p", "hub:q"): "password authentication failed",
        url + "x": "does not exist",
        url.replace(f":{postgres.port}/", ":1/"): "Connection refused",
        url.replace("%40", "@"): "cannot be understood",
        url.replace("%2F", "/"): "cannot be understood",
        "nonsense": "cannot be understood",
    }
    for address, reason in wrong.items():
        launcher.environment = {"KOHAKU_HUB_DATABASE_URL": address}
        refused = launcher.admin("check")

        assert refused.returncode == 1
        assert reason in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not any(part in refused.stderr for part in (PASSWORD, "p%40ss", "ord%25", "p@ss", "ss:w"))


def test_the_server_may_have_too_few_connections(launcher: Any) -> None:
    server = PostgresServer("max_connections = 4", "superuser_reserved_connections = 0")
    server.start()
    launcher.environment = {"KOHAKU_HUB_DATABASE_URL": server.create(), **LIMITS}
    launcher.users()
    hub = launcher.start()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: hub.call("GET", f"/{hub.user}/none.git/info/refs?service=git-upload-pack", token="x"), range(64)))

    assert {answer.status for answer in answers} <= {401, 429, 503}
    assert hub.stop() == 0
    assert subprocess.run(["grep", "-c", "unexpected error", str(hub.log)], capture_output=True, check=False).returncode == 1
    server.remove()
