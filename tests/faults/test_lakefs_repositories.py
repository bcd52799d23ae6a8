"""SIGKILL while a repository is made, moved or deleted in LakeFS, too: the next hub's recovery brings it in line with the rows."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from storage.versions.lakefs.names import repository_id
from tests.faults.agreement import Agreement
from tests.faults.killing import Place, Stop, behind_proxy, wait_until
from tests.lakefs.lake import Work
from tests.servers.lakeproxy import Moment, Trap


@pytest.fixture(scope="module")
def place(new_cluster: Callable[..., Any], lakefs: Any) -> Iterator[Place]:
    yield from behind_proxy(new_cluster, lakefs)


MAKING = [
    ("create", Stop("POST /repositories$", Moment.BEFORE)),
    ("create", Stop("POST /repositories$", Moment.AFTER)),
    ("create", Stop("PUT /repositories/{id}/settings/branch_protection", Moment.BEFORE)),
    ("create", Stop("POST /repositories/{id}/metadata", Moment.AFTER)),
    ("move", Stop("POST /repositories/{id}/metadata", Moment.BEFORE)),
    ("move", Stop("POST /repositories/{id}/metadata", Moment.AFTER)),
    ("delete", Stop("DELETE /repositories/{id}", Moment.BEFORE)),
    ("delete", Stop("DELETE /repositories/{id}", Moment.AFTER)),
]


@pytest.mark.parametrize(("what", "stop"), MAKING, ids=lambda value: str(value).replace("/repositories", "")[:40])
def test_a_repository_made_moved_or_deleted(place: Place, tmp_path: Path, what: str, stop: Stop) -> None:
    """The rows say what is wanted, and the recovery of the next hub brings LakeFS in line."""
    hub = place.hub
    name = f"alice/m{uuid.uuid4().hex[:10]}" if what == "create" else str(hub.repo())
    known = "h-[a-z2-7]*" if what == "create" else repository_id(place.rows.repo_id(name))
    reached = threading.Event()

    def die() -> None:
        place.kill()
        reached.set()

    place.proxy.arm(Trap("^" + stop.pattern.replace("{id}", known), die, 1, stop.moment, is_dropped=True))
    model = name.partition("/")[2]
    new = f"{name}new"
    with suppress(OSError):
        if what == "create":
            hub.call("POST", "/api/repos/create", {"type": "model", "name": model})
        elif what == "move":
            hub.call("POST", "/api/repos/move", {"type": "model", "fromRepo": name, "toRepo": new})
        else:
            hub.call("DELETE", "/api/repos/delete", {"type": "model", "name": model})
    assert reached.wait(30), "the call was never made"
    repo = known if what == "delete" else repository_id(place.rows.repo_id(new if what == "move" else name))
    place.start()
    wait_until(lambda: is_in_line(place, repo, "" if what == "delete" else new if what == "move" else name), stop)
    if what != "delete":
        work = Work(tmp_path / "work", place.hub.git_url(new if what == "move" else name))
        work.write({"a": b"1"})
        work.push()
        Agreement(place.rows, place.lakefs, place.hub, tmp_path).check(new if what == "move" else name)


def is_in_line(place: Place, repo: str, name: str) -> bool:
    """LakeFS has the repository under that name, with its protection; or has none."""
    status, told = place.lakefs.call("GET", f"/repositories/{repo}/metadata")
    if not name:
        return bool(status == 404)
    rules = place.lakefs.call("GET", f"/repositories/{repo}/settings/branch_protection")[1]
    return bool(status == 200 and told.get("hub.name") == name.partition("/")[2] and rules == [{"pattern": "main"}])
