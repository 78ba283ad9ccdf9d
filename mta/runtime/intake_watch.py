"""The watch over an admission: it refuses mail while the store or the disk does not allow it; and its figures."""

import asyncio
import logging
from typing import Final

from mta.admission.group_commit import STORE_FULL, GroupCommit
from mta.admission.key_memory import KeyMemory
from mta.model import process_metrics as told
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe

log = logging.getLogger(__name__)

_HEALTH_EVERY: Final = 1.0  # seconds
_PATIENCE: Final = 2.0  # seconds until a store that does not answer is taken to be away


class IntakeWatch:
    """Looks once a second."""

    def __init__(self, admission: GroupCommit, probe: StoreProbe, room: Room, memory: KeyMemory) -> None:
        self._admission = admission
        self._probe = probe
        self._room = room
        self._memory = memory

    async def run(self) -> None:
        """Refuse mail, and tell clients why, while the server could lose it or takes none, or the disk is full; until
        cancelled."""
        while True:
            trouble = await self._probe.ask(_PATIENCE)
            if trouble is not None:
                log.debug("no mail is taken: %s (%s)", trouble.reason, trouble.detail)
                self._admission.refuse(trouble.reason)
            elif self._room.look() is not None:
                self._admission.refuse_with(STORE_FULL)
            else:
                self._admission.allow()
                await self._memory.look()
            await asyncio.sleep(_HEALTH_EVERY)

    async def close(self) -> None:
        """Before the connection to the store is closed."""
        await self._probe.close()


def intake_figures(admission: GroupCommit) -> dict[str, float]:
    """Named as in `model.process_metrics`."""
    return {
        told.MESSAGES.of("accepted"): admission.accepted,
        told.MESSAGES.of("deferred"): admission.deferred,
        told.MESSAGES.of("rejected"): admission.rejected,
        told.MESSAGES.of("unanswered"): admission.unanswered,
        told.MESSAGES.of("refused"): admission.refused,
        told.ACCEPTED_DELIVERIES.key: admission.accepted_recipients,
        told.ACCEPTED_BYTES.key: admission.accepted_bytes,
    }
