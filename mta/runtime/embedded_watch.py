"""Keeping the embedded server running: one that dies is started again, and on a full disk as soon as there is room."""

import asyncio
import logging
from typing import Final

from mta.model.errors import SettingsError
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.room import Room

log = logging.getLogger(__name__)

_BACKOFF_MAX: Final = 10.0  # seconds between starts of a server that keeps dying
_LOOK_FOR_ROOM: Final = 0.5  # seconds


async def keep_running(server: EmbeddedServer, room: Room) -> None:
    """Until cancelled. A server that died has everything that it ever acknowledged in its append-only file."""
    backoff = 0.1
    while True:
        status = await server.died()
        if _lets_it_start(room):
            log.error("the embedded server ended with status %d; started again in %.1f s", status, backoff)
        else:
            log.error("the embedded server ended since the disk is full; it is started again when there is room")
        await asyncio.sleep(backoff)
        while not _lets_it_start(room):  # noqa: ASYNC110  # nobody tells when a disk has room again
            await asyncio.sleep(_LOOK_FOR_ROOM)
        backoff = min(backoff * 2, _BACKOFF_MAX)
        try:
            await server.start()
        except (SettingsError, OSError) as error:
            log.error("the embedded server cannot be started: %s", error)


def _lets_it_start(room: Room) -> bool:
    room.look()
    space = room.data_folder()
    return space is None or space.lets_a_server_start
