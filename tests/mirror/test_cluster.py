"""As it is deployed, on PostgreSQL, S3 and LakeFS: what follows a source stands in LakeFS too."""

from pathlib import Path
from typing import Any

from tests.mirror.conftest import mirroring
from tests.mirror.source import Elsewhere, git
from tests.mirror.test_import import NAME, PATH, expected, served, wait_for


def test_a_mirror_on_lakefs(new_cluster: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    launcher = new_cluster(**mirroring())
    launcher.users()
    hub = launcher.start("--workers", "2")
    try:
        begun = hub.call("POST", PATH, {"url": elsewhere.repository, "mirror": True, "interval_seconds": 1})
        assert begun.status == 202, begun
        wait_for(lambda: hub.call("GET", PATH).json()["ended_at"] is not None, "the first look")
        assert hub.call("GET", PATH).json()["message"] == ""
        assert served(hub, tmp_path / "first.git") == expected(elsewhere)

        git(elsewhere.work, "checkout", "-q", "-b", "other")
        elsewhere.commit("new.bin", b"new large bytes" * 1000)
        git(elsewhere.work, "branch", "-D", "side")
        git(elsewhere.work, "branch", "-f", "trunk", "trunk~2")
        elsewhere.push()
        git(elsewhere.bare, "symbolic-ref", "HEAD", "refs/heads/other")
        wait_for(lambda: b"refs/heads/other\tHEAD" in git(tmp_path, "ls-remote", "--symref", hub.git_url(NAME), "HEAD").stdout, "HEAD")
        wait_for(lambda: hub.call("GET", PATH).json()["state"] == "waiting", "the end of the look")

        assert served(hub, tmp_path / "second.git") == expected(elsewhere)
        assert hub.call("GET", f"/{NAME}/resolve/other/new.bin").body == b"new large bytes" * 1000
    finally:
        assert hub.stop() == 0
