"""Packs that take long to come, or do not come: who waits, and for how long."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gitserver.objects.store import Objects, ObjectStores
from storage.errors import Unavailable


class SlowPacks:
    """A PackStore whose packs of repository `slow` come when they are let go, if at all."""

    def __init__(self) -> None:
        self.looks = 0
        self.begun, self.go = threading.Event(), threading.Event()
        self.is_down = False

    def open_listed(self, repo_id: str, held: list[Any]) -> list[Any]:
        if repo_id == "slow":
            self.looks += 1
            self.begun.set()
            assert self.go.wait(30)
        if self.is_down:
            raise Unavailable("S3 does not answer.")
        return held


def test_one_repository_does_not_keep_the_others_waiting() -> None:
    packs = SlowPacks()
    stores = ObjectStores(packs)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(stores.of, "slow")
        assert packs.begun.wait(30)
        other = stores.of("other")
        assert stores.of("other") is other
        assert not slow.done()
        packs.go.set()
    assert stores.of("slow") is slow.result()
    assert packs.looks == 1


def test_who_waited_for_a_look_that_failed_does_not_wait_again(monkeypatch: pytest.MonkeyPatch) -> None:
    packs = SlowPacks()
    packs.go.set()
    objects = Objects("slow", packs)  # type: ignore[arg-type]
    packs.go.clear()
    packs.is_down = True
    came = threading.Semaphore(0)

    class Clock:
        now = 0

        @classmethod
        def monotonic(cls) -> float:
            cls.now += 1
            came.release()
            return cls.now

    monkeypatch.setattr("gitserver.objects.store.time", Clock)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(objects.refresh) for _ in range(8)]
        assert all(came.acquire(timeout=30) for _ in range(8))
        packs.go.set()
    assert [str(call.exception()) for call in calls] == ["S3 does not answer."] * 8
    assert packs.looks == 2
    packs.is_down = False
    objects.refresh()
    assert packs.looks == 3
