"""One worker process: listen, answer, and leave when it is told to. Both ways to start one, `kohakuhub serve` and gunicorn, end here."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from aiohttp import web

from httpapi.bodies import LINGER_SECONDS
from httpapi.endpoint import STOPPING
from hub.app import LEAVING, RUNNING, make_app
from hub.jobs import BackgroundJobs
from hub.services import Services, build
from hub.serving.connections import Addresses, Connection
from hub.serving.housekeeping import run_maintenance_loop
from hub.serving.memory import keep_little
from hub.serving.ssh import open_ssh
from hub.serving.target import without_empty_segments
from hub.settings import Settings
from storage.limits import MIB

log = logging.getLogger(__name__)
BACKLOG = 1024
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BEAT_SECONDS = 1.0
_GRACE_SECONDS = 1.0  # for the request of a connection that is new

Beat = Callable[[], bool]


def run_worker(settings: Settings, listeners: Sequence[socket.socket], beat: Beat | None = None, ssh: socket.socket | None = None) -> None:
    """Until SIGTERM or SIGINT, and then until every running transfer finished or the limit is over.

    `beat` is called every second to the very end, and stops the worker by False. Whoever beats also listens in this worker's place:
    then it takes no connection once it stops, and ends those that it has with their next answer. Without, it goes on to answer, with 503.
    """
    keep_little()
    services = build(settings)
    try:
        asyncio.run(_work(services, listeners, beat, ssh))
    finally:
        services.close()


async def _work(services: Services, listeners: Sequence[socket.socket], beat: Beat | None, ssh: socket.socket | None) -> None:
    loop = asyncio.get_running_loop()
    # asyncio.run waits for this pool at the end, without blocking the loop.
    loop.set_default_executor(ThreadPoolExecutor(services.settings.threads, "hub"))
    app = make_app(services)
    told = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, told.set)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    servers = await _listen(runner, services, listeners)
    shell = await open_ssh(services, ssh, listeners[0], app[RUNNING]) if ssh is not None else None
    beating = asyncio.create_task(_beat(beat, told))
    house = asyncio.create_task(run_maintenance_loop(services, told))
    jobs = BackgroundJobs(services).runner()
    jobs.start()
    await told.wait()
    if shell is not None:
        shell.stop()
    leaving = asyncio.create_task(asyncio.to_thread(jobs.stop, services.limits.stop_seconds))
    if beat is None:
        app[STOPPING].set()
    else:
        await _leave(app, runner, servers, listeners)
    await house
    await _drain(app, services.limits.stop_seconds)
    if shell is not None:
        await shell.close()
    await leaving
    for server in servers:
        server.close()
    await runner.cleanup()
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating


async def _listen(runner: web.AppRunner, services: Services, listeners: Sequence[socket.socket]) -> list[asyncio.Server]:
    """In place of aiohttp's sites, which know no other connections than aiohttp's own."""
    loop, limits, server = asyncio.get_running_loop(), services.limits, runner.server
    assert server is not None
    server.request_factory = without_empty_segments(server.request_factory)
    addresses = Addresses(limits.address_connections, trust_proxy=services.settings.trust_proxy)

    def connect() -> Connection:
        return Connection(
            server,
            addresses,
            limits.header_seconds,
            loop=loop,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            access_log=None,
            read_bufsize=MIB,
        )

    return [await loop.create_server(connect, sock=listener, backlog=BACKLOG) for listener in listeners]


async def _beat(beat: Beat | None, told: asyncio.Event) -> None:
    while beat is not None:
        if not beat():
            told.set()
        await asyncio.sleep(_BEAT_SECONDS)


async def _leave(
    app: web.Application, runner: web.AppRunner, servers: Sequence[asyncio.Server], listeners: Sequence[socket.socket]
) -> None:
    """Take no more connections; a request that comes by one from before is answered as ever, and is its last.

    aiohttp's own way (`Server.pre_shutdown`) drops what still comes of a body.
    """
    app[LEAVING].set()
    for listener in listeners:
        asyncio.get_running_loop().remove_reader(listener)
    await asyncio.sleep(0)  # what was accepted a moment ago becomes a connection
    for server in servers:
        server.close()
    if runner.server is not None and runner.server.connections:
        await asyncio.sleep(_GRACE_SECONDS)


async def _drain(app: web.Application, seconds: int) -> None:
    """Wait for running requests."""
    log.info("stopping: %d requests are running, they have %d seconds", len(app[RUNNING]), seconds)
    until = time.monotonic() + seconds
    while app[RUNNING] and time.monotonic() < until:  # noqa: ASYNC110  a set that every request changes
        await asyncio.sleep(0.05)
    if app[RUNNING]:
        log.warning("%d requests did not finish in time and are cut off", len(app[RUNNING]))
