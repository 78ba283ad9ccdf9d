"""Keeping the embedded server running: one that dies is started again, and on a full disk as soon as there is room."""

import asyncio
import logging
from typing import Final

from mta.model.errors import SettingsError
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.room import Room
from mta.timing.backoff import Backoff

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE = 0.1, 10.0  # seconds before a server that died is started again
_LOOK_FOR_ROOM: Final = 0.5  # seconds


async def keep_running(server: EmbeddedServer, room: Room) -> None:
    """Until cancelled. A server that died has everything that it ever acknowledged in its append-only file."""
    backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
    while True:
        status = await server.died()
        pause = backoff.failed()
        if _lets_it_start(room):
            log.error("the embedded server ended with status %d; started again in %.1f s", status, pause)
        else:
            log.error("the embedded server ended since the disk is full; it is started again when there is room")
        await asyncio.sleep(pause)
        while not _lets_it_start(room):  # noqa: ASYNC110  # nobody tells when a disk has room again
            await asyncio.sleep(_LOOK_FOR_ROOM)
        try:
            await server.start()
        except (SettingsError, OSError) as error:
            log.error("the embedded server cannot be started: %s", error)


def _lets_it_start(room: Room) -> bool:
    room.look()
    space = room.data_folder()
    return space is None or space.lets_a_server_start
