"""Repositories of the hub as repositories of LakeFS: made, described, renamed, deleted."""

from collections.abc import Callable
from typing import Any

from tests.lakefs.lake import Lake, Work


def test_made_at_once_with_its_default_branch_protected(hub: Any, new_lake: Callable[[str], Lake]) -> None:
    lake = new_lake(hub.repo())

    assert set(lake.branches()) == {"main"}
    assert lake.call("GET", "/settings/branch_protection") == [{"pattern": "main"}]
    assert len(lake.log("main")) == 1


def test_a_new_name_is_told_to_lakefs(hub: Any, new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    lake = new_lake(name)
    moved = name + "-2"
    assert hub.call("POST", "/api/repos/move", {"fromRepo": name, "toRepo": moved, "type": "model"}).status == 200
    assert new_lake(moved).id == lake.id
    assert hub.call("PUT", f"/api/models/{moved}/settings", {"private": True}).status == 200
    assert lake.call("GET", "/metadata")["hub.private"] == "1"


def test_another_default_branch_is_told_to_lakefs(hub: Any, new_lake: Callable[[str], Lake], new_work: Callable[..., Work]) -> None:
    name = hub.repo()
    work = new_work(name)
    work.write({"a": b"1"})
    work.push()
    lake = new_lake(name)
    assert hub.call("POST", f"/api/models/{name}/branch/next").status == 200
    assert hub.call("PUT", f"/api/models/{name}/settings", {"defaultBranch": "next"}).status == 200

    assert lake.call("GET", "/metadata")["hub.head"] == b"refs/heads/next".hex()
    assert hub.call("DELETE", f"/api/models/{name}/branch/main").status == 200
    assert [row["name"] for row in hub.call("GET", f"/api/models/{name}/refs").json()["branches"]] == ["next"]


def test_deleted_with_all_that_lakefs_kept(
    hub: Any, s3_server: Any, new_lake: Callable[[str], Lake], new_work: Callable[..., Work], wait_for: Any
) -> None:
    name = hub.repo()
    work = new_work(name)
    work.write({"a": b"1"})
    work.push()
    lake = new_lake(name)
    bucket = hub.launcher.environment["KOHAKU_HUB_S3_BUCKET"]
    assert s3_server.keys(bucket, f"lakefs/{lake.id}/")
    organization, _, plain = name.partition("/")
    assert hub.call("DELETE", "/api/repos/delete", {"name": plain, "organization": organization, "type": "model"}).status == 200

    wait_for(lambda: lake.server.call("GET", f"/repositories/{lake.id}")[0] == 404)  # LakeFS remembers them for some seconds
    assert not s3_server.keys(bucket, f"lakefs/{lake.id}/")
    assert hub.call("POST", "/api/repos/create", {"name": plain, "type": "model"}).status == 200
    assert new_lake(name).id != lake.id
