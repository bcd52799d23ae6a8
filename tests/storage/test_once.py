"""Threads that want the same at the same moment share one run."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from storage.singleflight import Once


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released by each who asks a run for its outcome."""
    made = threading.Semaphore(0)

    class Watched(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            made.release()
            return super().result(timeout)

    monkeypatch.setattr("storage.singleflight.Future", Watched)
    return made


def share(asked: threading.Semaphore, outcome: Any) -> list[Any]:
    """What four callers get of one run."""
    once: Once[str, int] = Once()
    begun, go = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert go.wait(30)
        return int(outcome)

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(once.run, "a", work)]
        assert begun.wait(30)
        calls += [pool.submit(once.run, "a", lambda: 99) for _ in range(3)]
        assert all(asked.acquire(timeout=30) for _ in range(3))
        assert once.run("b", lambda: 5) == 5
        go.set()
    assert once.run("a", lambda: 7) == 7
    return [call.exception() or call.result() for call in calls]


def test_who_comes_meanwhile_shares_the_outcome(asked: threading.Semaphore) -> None:
    assert share(asked, "1") == [1, 1, 1, 1]


def test_who_comes_meanwhile_shares_the_failure(asked: threading.Semaphore) -> None:
    assert [str(error) for error in share(asked, "no")] == ["invalid literal for int() with base 10: 'no'"] * 4
