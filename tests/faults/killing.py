"""A hub that dies while many clients are each at a chosen call to LakeFS: one kill and one start for all of them."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.lakefs.lake import Lake, Work
from tests.lakefs.rows import Rows
from tests.servers.lakefs import LakeFS
from tests.servers.lakeproxy import LakeProxy, Moment, Trap

_REACH_SECONDS = 60
_AT_ONCE = 4


@dataclass(frozen=True)
class Stop:
    """The `number`-th call that the pattern finds in the repository. `stands`: what was asked for is done all the same."""

    pattern: str
    moment: Moment
    stands: bool = False
    number: int = 1

    def __str__(self) -> str:
        return f"{self.moment.name.lower()} {self.pattern} #{self.number}"


def around(pattern: str, before: bool, after: bool, number: int = 1) -> list[Stop]:
    """Both moments of one call, and whether the whole stands when the hub dies there."""
    return [Stop(pattern, Moment.BEFORE, before, number), Stop(pattern, Moment.AFTER, after, number)]


@dataclass
class Case:
    """One client with a repository of its own. `before` and `wanted` are refs; a ref that is not there is not in them."""

    stop: Stop
    name: str
    work: Work
    lake: Lake
    act: Callable[["Case"], bool] = lambda case: False
    before: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)
    acknowledged: bool = False
    held: threading.Event = field(default_factory=threading.Event)


class Place:
    """A hub whose LakeFS is behind the proxy."""

    def __init__(self, launcher: Any, proxy: LakeProxy, lakefs: LakeFS) -> None:
        self.launcher = launcher
        self.proxy = proxy
        self.lakefs = lakefs
        self.rows = Rows(launcher.environment["KOHAKU_HUB_DATABASE_URL"])
        launcher.users()
        self.hub = launcher.start()
        self._port = self.hub.url.rsplit(":", 1)[1]

    def start(self) -> None:
        """Again, at the same address."""
        self.hub = self.launcher.start("--port", self._port)

    def kill(self) -> None:
        self.hub.process.send_signal(signal.SIGKILL)
        self.hub.process.wait(30)

    def kill_at_all(self, cases: Sequence[Case], *, again: bool = False) -> None:
        """Every client does its act until its call is reached; when all are there, the hub dies. `again`: not for the first time."""
        dead = threading.Event()
        for case in cases if not again else ():
            case.lake.wait_until_tidy()
        for case in cases:
            self.proxy.arm(_trap(case, dead))
        with ThreadPoolExecutor(len(cases)) as pool:
            acts = [pool.submit(case.act, case) for case in cases]
            late = [str(case.stop) for case in cases if not case.held.wait(_REACH_SECONDS)]
            self.kill()
            dead.set()
            for case, act in zip(cases, acts, strict=True):
                case.acknowledged = act.result()
        self.proxy.disarm()
        assert late == [], "these calls were never made"


def each(cases: Sequence[Case], work: Callable[[Case], Any]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(work, cases))


def _trap(case: Case, dead: threading.Event) -> Trap:
    def hold() -> None:
        case.held.set()
        dead.wait(2 * _REACH_SECONDS)

    method, path = case.stop.pattern.split(" ", 1)
    return Trap(f"^{method} /repositories/{case.lake.id}{path}", hold, case.stop.number, case.stop.moment, is_dropped=True)


def behind_proxy(new_cluster: Callable[..., Any], lakefs: LakeFS, **environment: str) -> Iterator[Place]:
    """A place for a fixture. At the end nothing unexpected is in the log of its last hub, and no key."""
    proxy = LakeProxy(lakefs.url)
    made = Place(new_cluster(KOHAKU_HUB_LAKEFS_ENDPOINT=proxy.url, **environment), proxy, lakefs)
    yield made
    assert made.hub.stop() == 0
    text = made.hub.log.read_text("utf-8")
    assert "unexpected error" not in text
    assert lakefs.secret_key not in text
    proxy.close()


def wait_until(condition: Callable[[], bool], what: object) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)
