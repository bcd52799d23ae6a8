"""The event stream of a shard whose files take long to rebuild: signs of life, then how it ended, also when nobody listens any more."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from httpapi.endpoint import STOPPING, add_endpoints
from lfs.xet.ingest import XetIngest
from lfs.xet.views import XetViews
from storage.errors import Invalid
from storage.limits import Limits
from tests.lfs.conftest import Place
from tests.lfs.xetmaker import Made, parts, send, shard, told


class Held(XetIngest):
    """Registers only after it is let go, and then ends as it is told."""

    def __init__(self, place: Place, ending: Callable[[], None]) -> None:
        real = place.ingest()
        super().__init__(real.index, real._staging, real._blobs, Limits())
        self.gate = threading.Event()
        self.ended = threading.Event()
        self.ending = ending

    def register(self, *arguments: Any) -> None:
        assert self.gate.wait(30)
        try:
            self.ending()
            super().register(*arguments)
        finally:
            self.ended.set()


def refuse() -> None:
    raise Invalid("The bytes are others. Send the file again.")


def fill_the_disk() -> None:
    raise OSError(28, "No space left on device")


async def serve(place: Place, ingest: Held) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app[STOPPING] = asyncio.Event()
    services = place.services
    views = XetViews(ingest, services.xet_tokens, services.users, services.repos, Limits(), quick_seconds=0.01)
    add_endpoints(app, views.endpoints(), services.access)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    return runner, f"http://127.0.0.1:{port}/cas/{services.xet_tokens.scope(place.ann.user_id)}/v2/shards"


async def send_shard(place: Place, ingest: Held, body: bytes, *, leave: bool = False) -> list[Any]:
    """The events; the work is let go once the first has come."""
    runner, url = await serve(place, ingest)
    token, _ = place.services.xet_tokens.issue(place.ann, place.public, may_write=True)
    found = []
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers={"Authorization": f"Bearer {token}"}) as answer,
        ):
            assert answer.status == 200
            found.append(json.loads(await answer.content.readline()))
            if leave:
                answer.close()
            ingest.gate.set()
            while not leave and (event := await answer.content.readline()):
                found.append(json.loads(event))
        assert await asyncio.to_thread(ingest.ended.wait, 30)
    finally:
        await runner.cleanup()
    return found


def upload(place: Place) -> tuple[Made, bytes]:
    made = Made(parts(5))
    send(place.ingest(), made, place.ann.user_id)
    return made, shard(told(made.of(0, 3)))


def test_signs_of_life_then_the_result(place: Place) -> None:
    made, body = upload(place)
    events = asyncio.run(send_shard(place, Held(place, lambda: None), body))

    assert events[0] == {"type": "validating", "verified": 0, "total": 0}
    assert events[-1] == {"type": "result", "result": 1}
    assert place.has(place.public, b"".join(made.parts))


@pytest.mark.parametrize(("ending", "words", "again"), [(refuse, "Send the file again", False), (fill_the_disk, "operator", True)])
def test_the_last_event_tells_of_a_failure(place: Place, ending: Callable[[], None], words: str, again: bool) -> None:
    _, body = upload(place)
    last = asyncio.run(send_shard(place, Held(place, ending), body))[-1]

    assert (last["type"], last["retryable"]) == ("error", again)
    assert words in last["message"]


def test_a_client_that_leaves_does_not_stop_the_work(place: Place) -> None:
    made, body = upload(place)
    asyncio.run(send_shard(place, Held(place, lambda: None), body, leave=True))

    assert place.has(place.public, b"".join(made.parts))
