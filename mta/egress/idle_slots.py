"""Idle slots: connections without mail are closed for those who wait for a slot of their site, but not between two
messages."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from mta.egress.connection import Connection
from mta.egress.slots import Slots

KEPT_FOR: Final = 0.1  # seconds: a new connection costs more than a short wait for the next message


class IdleSlots:
    """Those of one outlet."""

    def __init__(
        self,
        slots: Slots,
        loop: asyncio.AbstractEventLoop,
        idle: Collection[Connection],
        idle_timeout: float,
        is_reserved: Callable[[Connection], bool],
    ) -> None:
        """`idle`: the connections of the outlet that are idle now. `idle_timeout`: seconds, by which the deadline of
        one of them tells since when it is."""
        self._slots = slots
        self._loop = loop
        self._idle = idle
        self._idle_timeout = idle_timeout
        self._is_reserved = is_reserved

    def look(self, connection: Connection) -> None:
        """Close the connection, or look at it again, if it is idle and mail of others waits for its slot."""
        if connection not in self._idle or connection.transaction is not None or self._is_reserved(connection):
            return
        if not self._slots.is_wanted(connection.slot):
            return
        left = connection.deadline - self._idle_timeout + KEPT_FOR - self._loop.time()
        if left <= 0.001:
            connection.close()
        else:
            self._loop.call_later(left, self.look, connection)

    def became_idle(self, connection: Connection) -> None:
        """It has no mail from now on."""
        if self._slots.is_wanted(connection.slot):
            self._loop.call_later(KEPT_FOR, self.look, connection)
