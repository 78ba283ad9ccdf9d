"""The second look: checks the permit right after a dot was written, and reports a dot without one as escaped."""

import asyncio

from mta.egress.connection import Connection
from mta.egress.transaction import Transaction
from mta.ports.delivery import Settle
from mta.ports.rules import Rules


class SecondLook:
    """The loop makes the system call of a write at once or at the end of its round. So one look in the next round
    checks all dots of this round."""

    def __init__(self, rules: Rules, settle: Settle, loop: asyncio.AbstractEventLoop) -> None:
        self._rules = rules
        self._settle = settle
        self._loop = loop
        self._written: list[tuple[Connection, Transaction]] = []
        self.escaped = 0  # dots whose permit had run out when they had been written

    def dot_written(self, connection: Connection, transaction: Transaction) -> None:
        """Check the permit for this dot in the next round of the loop."""
        if not self._written:
            self._loop.call_soon(self._look)
        self._written.append((connection, transaction))

    def _look(self) -> None:
        written, self._written = self._written, []
        if self._rules.may_send_dot():
            return
        self.escaped += len(written)
        for connection, transaction in written:
            peer = connection.peer
            for claimed in transaction.claims:
                self._settle.escaped(claimed, peer.mta, peer.host, peer.ip)
