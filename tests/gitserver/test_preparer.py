"""What waits for what in the process pool."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitserver.fetch.filters import Filter
from gitserver.fetch.pack_job import PackOrder
from gitserver.fetch.packing import Rules
from gitserver.fetch.session import FetchSession
from gitserver.fetch.shallow import ShallowPlan
from gitserver.objects.reachability import reach_name
from gitserver.objects.store import ObjectStores
from gitserver.pack_cache.cache import PackCache
from gitserver.workers.process_pool import ProcessPool
from gitserver.workers.tasks import ready
from storage.filecache import FileCache
from storage.limits import Limits


@pytest.fixture
def pack_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackCache]:
    """One whose processes have started, and for whom a pack is large at once."""
    monkeypatch.setattr("gitserver.pack_cache.cache._LONG_OBJECTS", 0)
    process_pool = ProcessPool(1)
    process_pool.submit(ready).result()
    (tmp_path / "incoming").mkdir()
    made = PackCache(FileCache(tmp_path / "prepared", 1 << 30), tmp_path / "incoming", process_pool, Limits(prepared_objects=1))
    yield made
    made.close()


def clone(pack_cache: PackCache, hub: Any) -> Any:
    objects = ObjectStores(hub.packs, pack_cache.files).of(hub.repo.id)
    session = FetchSession(objects, hub.versions.refs(hub.repo.id), pack_cache)
    wanted = session.wanted([ref.oid for ref in session.refs.refs])
    return objects, session.pack(PackOrder(wanted, (), ShallowPlan(), Filter(), False, Rules(ofs_delta=True, thin=False)))


def test_a_clone_waits_for_the_reachability_that_is_being_made(pack_cache: PackCache, fetch_hub: Any, work: Any) -> None:
    """It takes a process of its own, which has to start; the process for clones is ready."""
    work.commit("one", {"a": "1", "d/b": "2"})
    fetch_hub.load(work)
    objects, job = clone(pack_cache, fetch_hub)
    for _ in job.run():
        pass

    assert job.total == len(work.objects())
    assert pack_cache.files.has(reach_name(fetch_hub.repo.id, objects.largest()))
    assert sum(map(len, job.pieces())) > 100


def test_a_clone_goes_on_without_it(pack_cache: PackCache, fetch_hub: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work.commit("one", {"a": "1"})
    fetch_hub.load(work)
    monkeypatch.setattr(pack_cache._process_pool, "start_alone", refuse)
    _, job = clone(pack_cache, fetch_hub)
    for _ in job.run():
        pass

    assert job.total == 3
    assert sum(map(len, job.pieces())) > 100
    assert not pack_cache._reaching


def refuse(*arguments: object) -> None:
    raise OSError("no room for a process")
