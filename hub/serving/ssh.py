"""SSH in the processes that answer HTTP, where `KOHAKU_HUB_SSH_PORT` is set. asyncssh comes with the extra `ssh`."""

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from gitserver.ssh.door import SessionHandler
from gitserver.ssh.fetch import Fetching
from gitserver.ssh.push import Pushing
from hub.services import Services
from hub.settings import Settings
from storage.errors import Unavailable

if TYPE_CHECKING:
    from gitserver.ssh.server import SshServer


def prepare_ssh(settings: Settings, data: Path) -> None:
    """Make the host key at the first start. Raises Unavailable where SSH is wanted and cannot be had."""
    if settings.ssh_port is None:
        return
    try:
        from gitserver.ssh.host_key import load_host_key
    except ModuleNotFoundError as error:
        raise Unavailable(f"SSH needs the Python package {error.name}. Install it with: pip install 'kohakuhub[ssh]'") from error
    load_host_key(data, settings.ssh_host_key)


async def open_ssh(services: Services, listener: socket.socket, http: socket.socket, running: set[int]) -> "SshServer":
    from gitserver.ssh.host_key import load_host_key
    from gitserver.ssh.server import SshServer, web_origin

    parts, limits = services, services.limits
    fetching = Fetching(parts.objects, parts.versions, parts.bundles, limits, parts.pack_cache)
    pushing = Pushing(parts.pusher, parts.packs, parts.versions, limits, parts.creation)
    large = parts.possession, parts.blobs, parts.locks
    door = SessionHandler(parts.keys, parts.access, fetching, pushing, *large, limits, parts.creation)
    server = SshServer(door, running, web_origin(services.settings.base_url, http.getsockname()[1]))
    await server.start(listener, await asyncio.to_thread(load_host_key, services.settings.data, services.settings.ssh_host_key))
    return server
