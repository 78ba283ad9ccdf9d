"""The way in of a worker process: it takes mail by SMTP while the store and the disk allow it."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from mta.admission.group_commit import STORE_FULL, GroupCommit
from mta.ingress.listener import Listener
from mta.ingress.turn_away import TurnAway
from mta.model import process_metrics as told
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe

log = logging.getLogger(__name__)

_HEALTH_EVERY: Final = 1.0  # seconds
_PATIENCE: Final = 2.0  # seconds until a store that does not answer is taken to be away


class Inbound:
    """Sessions, and the admission that they hand mail to."""

    def __init__(
        self, waiting: TurnAway, listener: Listener, admission: GroupCommit, probe: StoreProbe, room: Room
    ) -> None:
        """`waiting` answers clients until `start`."""
        self._waiting = waiting
        self._listener = listener
        self._admission = admission
        self._probe = probe
        self._room = room

    def start(self) -> None:
        """Take mail from now on."""
        self._waiting.stop()
        self._listener.start()

    async def watch_store(self) -> None:
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
            await asyncio.sleep(_HEALTH_EVERY)

    async def drain(self, seconds: float) -> None:
        """Let open sessions end; after `seconds` drop them."""
        self._listener.stop_accepting()
        for sock in self._waiting.sockets:
            sock.close()
        try:
            async with asyncio.timeout(seconds):
                await self._listener.drain()
        except TimeoutError:
            log.warning("sessions that did not end in time are dropped: %r", self._listener)
            self._listener.abort()
        await self._admission.close()
        await self._probe.close()

    def metrics(self) -> Mapping[str, float]:
        admission, listener = self._admission, self._listener
        return {
            told.MESSAGES.of("accepted"): admission.accepted,
            told.MESSAGES.of("deferred"): admission.deferred,
            told.MESSAGES.of("rejected"): admission.rejected,
            told.MESSAGES.of("unanswered"): admission.unanswered,
            told.MESSAGES.of("refused"): admission.refused,
            told.ACCEPTED_DELIVERIES.key: admission.accepted_recipients,
            told.ACCEPTED_BYTES.key: admission.accepted_bytes,
            told.CONNECTIONS_IN.key: listener.connections_open,
            told.CONNECTIONS_REFUSED.key: listener.connections_refused,
        }
