"""The run itself: a test waits for what it needs, and nothing is left of a run that is ended from outside."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.forked import ROOT
from tests.servers import needs
from tests.servers.shared import SCRIPTS

_SECONDS = 60
_CASE = """
import time
from pathlib import Path
from tests.harness.run import shared

def test_it() -> None:
    shared("versitygw")
    Path({ready!r}).touch()
    time.sleep(200)
"""


def test_a_program_that_is_still_being_made_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(needs, "shared", asked.append)

    needs.need_program("lakefs", lambda: "" if asked else "it is not here")

    assert asked == ["set-up lakefs"]


def test_no_test_asks_for_a_program_that_a_script_gets_without_waiting_for_the_script() -> None:
    names = "|".join(name.removeprefix("set-up ") for name in SCRIPTS if name.split()[1].isidentifier())
    hasty = re.compile(rf"\bneed\([^\n]*\b({names})\w*\.missing\(|\bneed\(missing\(\)")
    texts = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py") if path not in (Path(__file__), Path(needs.__file__))}

    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if hasty.search(text)] == []


@pytest.mark.parametrize("workers", ["0", "1"])
def test_sigterm_ends_the_servers_of_a_run(versitygw: object, tmp_path: Path, workers: str) -> None:
    case, ready = tmp_path / "test_case.py", tmp_path / "ready"
    case.write_text(_CASE.format(ready=str(ready)))
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-p", "tests.harness.tiers", "-p", "no:cacheprovider", str(case)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"TMPDIR": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process:
        until = time.monotonic() + _SECONDS
        while not ready.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        members = psutil.Process(process.pid).children(recursive=True)
        names = [one.name() for one in members]
        process.send_signal(signal.SIGTERM)
        status = process.wait(_SECONDS)

    assert "versitygw" in names, (tmp_path / "log").read_text("utf-8")
    assert status == pytest.ExitCode.INTERRUPTED
    assert psutil.wait_procs(members, timeout=10)[1] == []
    assert list(tmp_path.glob("kohaku-run-*")) == []
