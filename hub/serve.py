"""Serving: one socket, one or several worker processes, and a stop that lets running transfers finish."""

import asyncio
import logging
import os
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from aiohttp import web

from accounts.endpoint import STOPPING
from hub.app import RUNNING, make_app
from hub.housekeeping import keep_house
from hub.memory import return_large_blocks
from hub.services import Services, build
from hub.settings import Settings
from storage.limits import MIB

log = logging.getLogger(__name__)
_BACKLOG = 1024
_RESTART_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Returns when every running transfer finished or the limit is over."""
    _raise_file_limit()
    listener = listen(settings.host, settings.port)
    _prepare(settings)
    _greet(settings, listener)
    if settings.workers == 1:
        run_worker(settings, listener)
    else:
        _supervise(settings, listener)
    log.info("stopped")


def _prepare(settings: Settings) -> None:
    """Migrate once, before the workers, and see that S3 and LakeFS do what is asked of them."""
    services = build(settings)
    try:
        if services.stores.remote is not None:
            services.stores.remote.bucket.check()
        services.versions.prepare()
    finally:
        services.close()


def _raise_file_limit() -> None:
    """Packs, connections and databases are open files; the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listener.setblocking(False)
    return listener


def run_worker(settings: Settings, listener: socket.socket) -> None:
    return_large_blocks()
    services = build(settings)
    try:
        asyncio.run(_work(services, listener))
    finally:
        services.close()


async def _work(services: Services, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    # asyncio.run waits for this pool at the end, without blocking the loop.
    loop.set_default_executor(ThreadPoolExecutor(services.settings.threads, "hub"))
    app = make_app(services)
    for number in _SIGNALS:
        loop.add_signal_handler(number, app[STOPPING].set)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, handle_signals=False, shutdown_timeout=1.0, read_bufsize=MIB)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    house = asyncio.create_task(keep_house(services, app[STOPPING]))
    await app[STOPPING].wait()
    await house
    await _drain(app, services.limits.stop_seconds)
    await runner.cleanup()


async def _drain(app: web.Application, seconds: int) -> None:
    """Wait for running requests; new ones get 503 meanwhile."""
    log.info("stopping: %d requests are running, they have %d seconds", len(app[RUNNING]), seconds)
    until = time.monotonic() + seconds
    while app[RUNNING] and time.monotonic() < until:  # noqa: ASYNC110  a set that every request changes
        await asyncio.sleep(0.05)
    if app[RUNNING]:
        log.warning("%d requests did not finish in time and are cut off", len(app[RUNNING]))


def _supervise(settings: Settings, listener: socket.socket) -> None:
    """Keep `workers` processes alive; at a signal tell them to stop, and wait for them."""
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in workers:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    workers: set[int] = set()
    for number in _SIGNALS:
        signal.signal(number, stop)
    while workers or not stopping:
        while not stopping and len(workers) < settings.workers:
            workers.add(_fork(settings, listener))
        try:
            child, status = os.wait()
        except ChildProcessError:
            break
        workers.discard(child)
        if not stopping:
            log.error("worker %d ended with status %d; a new one starts", child, os.waitstatus_to_exitcode(status))
            time.sleep(_RESTART_SECONDS)


def _fork(settings: Settings, listener: socket.socket) -> int:
    child = os.fork()
    if child:
        return child
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    code = 1
    try:
        run_worker(settings, listener)
        code = 0
    except BaseException:
        log.exception("the worker failed")
    finally:
        os._exit(code)


def _greet(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    log.info("KohakuHub is at %s", settings.base_url or f"http://{shown}:{port}")
    log.info("data lies in %s", settings.data.absolute())
    log.info("first steps: kohakuhub admin create-user NAME --email YOU@EXAMPLE.ORG --password-stdin")
    log.info("             kohakuhub admin create-token NAME --name laptop --scope write")
