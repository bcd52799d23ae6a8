"""A bounded memory of what was used last, safe for threads. Only for facts that cannot change: nothing is ever taken back."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


FACT_BYTES = 400  # what is held of one small fact under a short key


def fact(value: object) -> int:
    """Weighs what is a number, a time or a yes, and has an id for its key."""
    return FACT_BYTES


class Recent(Generic[K, V]):
    """Holds as many values as come to `most` bytes together, as `weigh` has it. A value of more than half of that is not held."""

    def __init__(self, most: int, weigh: Callable[[V], int]) -> None:
        self._most = most
        self._weigh = weigh
        self._held = 0
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def held(self) -> int:
        """What the values weigh together."""
        return self._held

    def get(self, key: K) -> V | None:
        with self._lock:
            value = self._kept.get(key)
            if value is not None:
                self._kept.move_to_end(key)
            return value

    def keep(self, key: K, value: V) -> None:
        weight = self._weigh(value)
        with self._lock:
            if (old := self._kept.pop(key, None)) is not None:
                self._held -= self._weigh(old)
            if weight > self._most // 2:
                return
            self._kept[key] = value
            self._held += weight
            while self._held > self._most:
                self._held -= self._weigh(self._kept.popitem(last=False)[1])
