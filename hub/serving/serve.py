"""`kohakuhub serve`: one socket, and one or several worker processes on it."""

import errno
import logging
import os
import signal
import socket
import time
from contextlib import suppress

from hub.serving.start import greet, prepare
from hub.serving.worker import BACKLOG, SIGNALS, run_worker
from hub.settings import Settings
from storage.errors import Unavailable

log = logging.getLogger(__name__)
_RESTART_SECONDS = 1.0


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Returns when every running transfer finished or the limit is over."""
    listener = listen(settings.host, settings.port)
    ssh = listen(settings.ssh_host or settings.host, settings.ssh_port, "SSH_PORT") if settings.ssh_port is not None else None
    prepare(settings)
    greet(settings, listener, ssh)
    if settings.workers == 1:
        run_worker(settings, [listener], ssh=ssh)
    else:
        _supervise(settings, listener, ssh)
    log.info("stopped")


def listen(host: str, port: int, setting: str = "PORT") -> socket.socket:
    """Raises Unavailable with what to do; `setting` names the port's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(_why_not(error, host, port, f"KOHAKU_HUB_{setting}")) from error
    listener.setblocking(False)
    return listener


def _why_not(error: OSError, host: str, port: int, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        used = f"Port {port} of {host} is in use by another program, perhaps by a hub that runs already."
        return f"{used} Stop that one, or set {setting} to another port."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"This user may not listen on port {port}. Set {setting} to a port from 1024 on, and let a proxy have port {port}."
    fix = f"Set {setting.replace('PORT', 'HOST')} to an address of this machine, or to 0.0.0.0 for all of them."
    return f"The hub cannot listen on {host} ({error.strerror or error}). {fix}"


def _supervise(settings: Settings, listener: socket.socket, ssh: socket.socket | None) -> None:
    """Keep `workers` processes alive; at a signal tell them to stop, and wait for them."""
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in workers:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    workers: set[int] = set()
    for number in SIGNALS:
        signal.signal(number, stop)
    while workers or not stopping:
        while not stopping and len(workers) < settings.workers:
            workers.add(_fork(settings, listener, ssh))
        try:
            child, status = os.wait()
        except ChildProcessError:
            break
        workers.discard(child)
        if not stopping:
            log.error("worker %d ended with status %d; a new one starts", child, os.waitstatus_to_exitcode(status))
            time.sleep(_RESTART_SECONDS)


def _fork(settings: Settings, listener: socket.socket, ssh: socket.socket | None) -> int:
    child = os.fork()
    if child:
        return child
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    code = 1
    try:
        run_worker(settings, [listener], ssh=ssh)
        code = 0
    except BaseException:
        log.exception("the worker failed")
    finally:
        os._exit(code)
