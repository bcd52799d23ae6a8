"""git while S3 is refused, hangs, is busy, breaks or is cut: what is cached is served, what is not is refused plainly, nothing is lost.

Whatever takes longer than a minute fails by the clients' own limits.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.writer import Writer
from tests.servers.faults import FaultProxy

FAULTS = ("refuse", "hang", "busy", "broken")
STEPS = ("before the pack", "before the index", "before the cache", "between the two in the cache", "before the rows")


def test_a_push_is_refused_and_the_next_succeeds(faulty_hub: Any, proxy: FaultProxy, tmp_path: Path) -> None:
    writer = Writer(faulty_hub, faulty_hub.repo(), tmp_path / "work")
    for fault in FAULTS:
        assert writer.push()
        before = writer.git("ls-remote", faulty_hub.git_url(writer.name)).stdout
        proxy.set(fault)
        assert not writer.push()
        assert "S3 at" in writer.refusals[-1]
        assert "Try again in a moment" in writer.refusals[-1]
        assert writer.git("ls-remote", faulty_hub.git_url(writer.name)).stdout == before
        clone = tmp_path / fault  # of what this machine pushed: it is in the cache
        assert writer.git("clone", "-q", faulty_hub.git_url(writer.name), str(clone)).returncode == 0
        assert faulty_hub.call("GET", f"/{writer.name}/resolve/main/file0").status == 200
        proxy.set("pass")
    assert writer.push()
    writer.check_acknowledged()
    checked = faulty_hub.admin("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_not_cached_is_refused_until_s3_is_back(faulty_launcher: Any, proxy: FaultProxy, tmp_path: Path) -> None:
    hub = faulty_launcher.start()
    writer = Writer(hub, hub.repo(), tmp_path / "work")
    assert writer.push()
    assert hub.stop() == 0
    shutil.rmtree(hub.data / "pack-cache")
    writer.hub = hub = faulty_launcher.start()
    clone = ("clone", "-q", hub.git_url(writer.name), str(tmp_path / "clone"))
    for fault in (*FAULTS, "cut"):
        proxy.set(fault, 100)
        refused = writer.git(*clone)
        browsed = hub.call("GET", f"/{writer.name}/resolve/main/file0")
        assert not writer.push()
        assert (refused.returncode, browsed.status) == (128, 503)
        assert "remote error: " in refused.stderr
        assert all("S3" in text for text in (refused.stderr, browsed.body.decode(), writer.refusals[-1]))
        assert list((hub.data / "pack-cache").glob("*/*")) == []
        hub.wait_until_tidy()
    proxy.set("pass")
    assert writer.git(*clone).returncode == 0
    assert hub.call("GET", f"/{writer.name}/resolve/main/file0").status == 200
    assert writer.push()
    writer.check_acknowledged()
    assert hub.stop() == 0


def test_a_commit_by_the_api_is_refused_and_the_next_succeeds(faulty_hub: Any, proxy: FaultProxy) -> None:
    name = faulty_hub.repo()
    lines = b'{"key":"header","value":{"summary":"s"}}\n{"key":"file","value":{"path":"f","content":"eA=="}}\n'

    def commit() -> Any:
        return faulty_hub.call("POST", f"/api/models/{name}/commit/main", lines, Content_Type="application/x-ndjson")

    for fault in FAULTS:
        proxy.set(fault)
        refused = commit()
        assert refused.status == 503
        assert b"S3" in refused.body
        assert faulty_hub.call("GET", f"/{name}/resolve/main/f").status == 404
    proxy.set("pass")
    assert commit().status == 200
    assert faulty_hub.call("GET", f"/{name}/resolve/main/f").body == b"x"


def test_a_kill_inside_of_add(launcher: Any, new_launcher: Any, s3_server: Any) -> None:
    """Nothing shows of the push; the same push succeeds afterwards, and all of it is in the bucket."""
    made = new_launcher(launcher.data, s3_server.environment(s3_server.make_bucket()))
    made.users()
    for step in STEPS:
        killed = killed_add(made, step, str(STEPS.index(step)))
        assert killed.returncode == -signal.SIGKILL, (step, killed.stderr)
        checked = made.admin("check")
        assert (checked.returncode, checked.stdout) == (0, ""), (step, checked.stderr)
        again = killed_add(made, step, "never")
        assert (again.returncode, again.stdout) == (0, "0 packs before, 1 after\n"), (step, again.stderr)
    shutil.rmtree(made.data / "pack-cache")
    checked = made.admin("check")
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def killed_add(launcher: Any, step: str, number: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(Path(__file__).parent / "killed_add.py"), str(launcher.data), step.replace(" ", "-"), number]
    environment = {**os.environ, **launcher.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
