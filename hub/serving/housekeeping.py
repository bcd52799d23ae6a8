"""What a running hub tidies by itself: leftovers of uploads that ended badly, staged chunks that nothing ever used, and packs."""

import asyncio
import logging
from contextlib import suppress

from hub.services import Services
from storage.disk_space import is_full
from storage.packs import sweep_incoming

log = logging.getLogger(__name__)

LEFTOVER_SECONDS = 86400.0
_EVERY_SECONDS = 600.0


async def run_maintenance_loop(services: Services, stopping: asyncio.Event) -> None:
    """Until `stopping`; every worker does it, and what one has removed another does not miss."""
    while not stopping.is_set():
        try:
            await asyncio.to_thread(run_maintenance, services)
        except Exception as error:
            if is_full(error):
                log.warning("housekeeping waits: %s", error)
            else:
                log.exception("housekeeping failed; it is tried again in ten minutes")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _EVERY_SECONDS)


def run_maintenance(services: Services) -> None:
    services.stores.space.trouble()  # which logs a change, before somebody meets it
    sweep_incoming(services.settings.data / "incoming", LEFTOVER_SECONDS)
    services.xet.expire()
    if services.stores.remote is not None:
        services.stores.remote.sweep(services.limits.multipart_seconds)
    services.versions.recover()
    services.background_repack.run_maintenance()
