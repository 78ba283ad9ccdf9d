"""The way in of a worker process: it takes mail by SMTP while the store and the disk allow it."""

import asyncio
import logging
from collections.abc import Mapping

from mta.admission.group_commit import GroupCommit
from mta.admission.key_memory import KeyMemory
from mta.admission.once import OncePerKey
from mta.ingress.listener import Listener
from mta.ingress.turn_away import TurnAway
from mta.model import process_metrics as told
from mta.runtime.intake_watch import IntakeWatch, intake_figures
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe

log = logging.getLogger(__name__)


class Inbound:
    """Sessions, and the admission that they hand mail to."""

    def __init__(
        self,
        waiting: TurnAway,
        listener: Listener,
        admission: GroupCommit,
        once: OncePerKey,
        probe: StoreProbe,
        room: Room,
        memory: KeyMemory,
    ) -> None:
        """`waiting` answers clients until `start`."""
        self._waiting = waiting
        self._listener = listener
        self._admission = admission
        self._once = once
        self._watch = IntakeWatch(admission, probe, room, memory)

    def start(self) -> None:
        """Take mail from now on."""
        self._waiting.stop()
        self._listener.start()

    async def watch_store(self) -> None:
        """Until cancelled."""
        await self._watch.run()

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
        await self._watch.close()

    def metrics(self) -> Mapping[str, float]:
        listener = self._listener
        return intake_figures(self._admission) | {
            told.REPLAYED.key: self._once.replayed,
            told.CONNECTIONS_IN.key: listener.connections_open,
            told.CONNECTIONS_REFUSED.key: listener.connections_refused,
        }
