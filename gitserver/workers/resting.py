"""Work in the background that begins a moment after it was asked for: pushes come in groups, and one run does for all of them."""

import threading
from collections.abc import Callable

from gitserver.objects.store import Objects

_SECONDS = 5.0


class Resting:
    """`work` is called once for each repository that was noted, in a thread of its own, `_SECONDS` after the first note."""

    def __init__(self, work: Callable[[Objects], None]) -> None:
        self._work = work
        self._timers: dict[str, threading.Timer] = {}  # by repository
        self._lock = threading.Lock()
        self.is_closed = False

    def note(self, objects: Objects) -> None:
        with self._lock:
            if objects.repo_id in self._timers or self.is_closed:
                return
            timer = self._timers[objects.repo_id] = threading.Timer(_SECONDS, self._rested, (objects,))
            timer.daemon = True
        timer.start()

    def close(self) -> None:
        """What has not begun yet will not."""
        with self._lock:
            self.is_closed = True
            timers = list(self._timers.values())
        for timer in timers:
            timer.cancel()

    def _rested(self, objects: Objects) -> None:
        with self._lock:
            self._timers.pop(objects.repo_id, None)
        self._work(objects)
