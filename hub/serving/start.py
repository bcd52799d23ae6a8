"""What is done once before the workers, whoever starts them."""

import logging
import os
import resource
import socket

from hub.services import build
from hub.serving.ssh import prepare_ssh
from hub.setting_names import unknown_settings
from hub.settings import Settings

log = logging.getLogger(__name__)


def prepare(settings: Settings) -> None:
    """Migrate, and see that S3 and LakeFS do what is asked of them."""
    _raise_file_limit()
    for variable, advice in unknown_settings(os.environ, Settings.model_fields):
        log.warning("%s is ignored: %s.", variable, advice)
    services = build(settings)
    try:
        services.stores.space.trouble()  # which logs that the disk is full
        if services.stores.remote is not None:
            services.stores.remote.check()
        services.versions.prepare()
        prepare_ssh(settings, settings.data.absolute())
    finally:
        services.close()


def _raise_file_limit() -> None:
    """Packs, connections and databases are open files; the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def greet(settings: Settings, listener: socket.socket, ssh: socket.socket | None = None) -> None:
    log.info("KohakuHub is at %s", settings.base_url or f"http://{_shown(listener)}")
    if ssh is not None:
        log.info("SSH: git clone ssh://git@%s/OWNER/NAME", _shown(ssh))
    log.info("data lies in %s", settings.data.absolute())
    log.info("first steps: kohakuhub admin create-user NAME --email YOU@EXAMPLE.ORG")
    log.info("             kohakuhub admin create-token NAME --name laptop --scope write")


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"{shown}:{port}"
