"""The hub as gunicorn runs it: `gunicorn -c docker/gunicorn.conf.py`. Only this module knows gunicorn.

gunicorn's master binds the socket, replaces workers that die and hands signals on; a worker is the same as that of `kohakuhub serve`.
"""

import os
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from pydantic import ValidationError

from hub import log
from hub.serving import start
from hub.serving.worker import BACKLOG, run_worker
from hub.settings import Settings, problems
from storage.errors import HubError

_RESERVE_SECONDS = 15
_BEAT_LOST_SECONDS = 120


def load() -> Settings:
    """gunicorn's application: the workers build the rest. Ends the process when a setting is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit("\n".join(f"kohakuhub: {line}" for line in problems(error))) from None


def options() -> dict[str, Any]:
    """gunicorn's configuration, from the hub's settings."""
    settings = load()
    return {
        "wsgi_app": "hub.serving.gunicorn:load",
        "bind": _addresses(settings),
        "workers": settings.workers,
        "worker_class": "hub.serving.gunicorn.HubWorker",
        "logger_class": "hub.serving.gunicorn.HubLogger",
        "backlog": BACKLOG,
        # A worker beats every second, however long its transfers take; one that does not for so long hangs, and is replaced.
        "timeout": _BEAT_LOST_SECONDS,
        # Longer than the worker's own limit, so that it is the worker who ends them.
        "graceful_timeout": settings.make_limits().stop_seconds + _RESERVE_SECONDS,
        "control_socket_disable": True,
        "on_starting": prepare,
        "when_ready": greet,
    }


def _addresses(settings: Settings) -> list[str]:
    """HTTP's, and behind it SSH's where there is one."""
    wanted = [(settings.host, settings.port)]
    if settings.ssh_port is not None:
        wanted.append((settings.ssh_host or settings.host, settings.ssh_port))
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in wanted]


def prepare(server: Arbiter) -> None:
    """Once, in the master. A hub that cannot start says why in one line."""
    try:
        start.prepare(load())
    except (HubError, OSError) as error:
        server.log.error("kohakuhub: %s", getattr(error, "message", error))
        raise SystemExit(1) from None


def greet(server: Arbiter) -> None:
    http, *ssh = (listener.sock for listener in server.LISTENERS)
    start.greet(load(), http, ssh[0] if ssh else None)


class HubLogger(Logger):  # type: ignore[misc]
    """gunicorn's own lines go where the hub's go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        settings = load()
        log.set_up(settings.log_format, settings.log_level)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class HubWorker(Worker):  # type: ignore[misc]
    """A process of gunicorn's; SIGTERM lets its transfers finish."""

    def run(self) -> None:
        for listener in self.sockets:
            listener.setblocking(False)
        http, *ssh = (listener.sock for listener in self.sockets)
        run_worker(self.wsgi(), [http], self._beat, ssh[0] if ssh else None)

    def _beat(self) -> bool:
        """False when the master is gone: nobody would replace or stop this worker any more."""
        self.notify()
        return bool(self.alive) and self.ppid == os.getppid()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """gunicorn's quick stop (Ctrl-C, SIGQUIT): transfers are cut off."""
        os._exit(0)
