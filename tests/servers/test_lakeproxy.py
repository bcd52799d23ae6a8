"""The proxy itself: what it says that it saw is what happened."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.servers.lakeproxy import Call, Fault, LakeProxy, Moment, Trap

_CONFIG = "/api/v1/config"


@pytest.fixture
def proxy(lakefs: Any) -> Iterator[LakeProxy]:
    made = LakeProxy(lakefs.url)
    yield made
    made.close()


@pytest.fixture
def connection(proxy: LakeProxy) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=5)
    yield made
    made.close()


def ask(lakefs: Any, connection: http.client.HTTPConnection, path: str = _CONFIG) -> tuple[int, bytes]:
    connection.request("GET", path, headers={"Authorization": lakefs.authorization})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_requests_go_through_one_connection_and_are_counted(lakefs: Any, proxy: LakeProxy, connection: http.client.HTTPConnection) -> None:
    with proxy.calls() as calls:
        answers = [ask(lakefs, connection)[0], ask(lakefs, connection, "/api/v1/repositories/none/branches/a%2Fb?x=%20")[0]]

    assert answers == [200, 400]
    assert calls == [Call("GET", "/config", 200), Call("GET", "/repositories/none/branches/a%2Fb?x=%20", 400)]


def test_a_trap_springs_at_its_number_and_drops(lakefs: Any, proxy: LakeProxy, connection: http.client.HTTPConnection) -> None:
    done: list[str] = []
    before = proxy.arm(Trap("GET /config", lambda: done.append("before"), 2))
    with proxy.calls() as calls:
        assert [ask(lakefs, connection)[0] for _ in range(3)] == [200] * 3
        after = proxy.arm(Trap("GET /config", lambda: done.append("after"), 1, Moment.AFTER, is_dropped=True))
        with pytest.raises(ConnectionError):
            ask(lakefs, connection)
        proxy.arm(Trap("GET /config", lambda: done.append("dropped"), 1, is_dropped=True))
        with pytest.raises(ConnectionError):
            ask(lakefs, connection)

    assert done == ["before", "after", "dropped"]
    assert before.sprung.is_set()
    assert after.sprung.is_set()
    assert [call.status for call in calls] == [200] * 4 + [0]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.CUT])
def test_faults_that_break_connections(lakefs: Any, proxy: LakeProxy, connection: http.client.HTTPConnection, fault: Fault) -> None:
    with proxy.fault(fault), pytest.raises((OSError, http.client.HTTPException)):
        ask(lakefs, connection)
    connection.close()

    assert ask(lakefs, connection)[0] == 200


def test_faults_that_answer(lakefs: Any, proxy: LakeProxy, connection: http.client.HTTPConnection) -> None:
    with proxy.fault(Fault.BROKEN):
        assert ask(lakefs, connection) == (500, b'{"message":"out of order"}')
    with proxy.fault(Fault.BUSY, "GET /config"):
        assert (ask(lakefs, connection)[0], ask(lakefs, connection, "/api/v1/setup_lakefs")[0]) == (503, 200)
    with proxy.fault(Fault.SLOW):
        assert ask(lakefs, connection)[0] == 200
    with proxy.fault(Fault.HANGING), pytest.raises(TimeoutError):
        ask(lakefs, connection)
