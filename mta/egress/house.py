"""What all outlets of a worker share: settings, ports, the connection budget, dead hosts and the second look."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from mta.egress.connection import Connection
from mta.egress.connection_budget import ConnectionBudget
from mta.egress.dial import Dialer
from mta.egress.sending_ips import SendingIps
from mta.egress.transaction import Transaction
from mta.model.settings import Settings
from mta.policy.failures import Trouble
from mta.ports.content import Content
from mta.ports.delivery import Limits, Resolver, Settle
from mta.ports.rules import Rules


class House:
    """Shared by the outlets; made by `Egress`."""

    def __init__(
        self, settings: Settings, resolver: Resolver, rules: Rules, settle: Settle, limits: Limits, content: Content
    ) -> None:
        self.settings = settings
        self.delivery = settings.delivery
        self.resolver = resolver
        self.rules = rules
        self.settle = settle
        self.limits = limits
        self.content = content
        self.loop = asyncio.get_running_loop()
        self.dialer = Dialer(settings.delivery)
        self.ips = SendingIps(settings)
        self.draining = False
        self.budget = ConnectionBudget(settings.delivery.connections, settle.room_for_new)
        self.unreachable: dict[tuple[str, int], tuple[float, Trouble]] = {}  # address -> until when, why
        self.progress = asyncio.Event()  # something ended while `Egress.drain` waits
        self.permit_stops = Counter[str]()  # by what had to wait for a permit: "mail", "dot"
        self.permit_aborts = 0  # dots that waited for a permit in vain
        self.escaped = 0  # dots whose permit was gone when they had been written
        self._written: list[tuple[Connection, Transaction]] = []

    @property
    def back_off(self) -> float:
        """Seconds for which a failure to connect is remembered: less than the first retry waits."""
        retries = self.delivery.retries
        return min(5.0, retries[0] / 2) if retries else 5.0

    def no_permit(self, transaction: Transaction, before: str) -> None:
        """MAIL or the dot of the transaction waits for a permit: counted once, however often it is looked at."""
        if transaction.stopped_at != before:
            transaction.stopped_at = before
            self.permit_stops[before] += 1

    def second_look(self, connection: Connection, transaction: Transaction) -> None:
        """A dot was handed to the transport. The system call is made at once or at the end of the loop's round, so the
        look after it comes with the next round: one for all dots of this one."""
        if not self._written:
            self.loop.call_soon(self._look_again)
        self._written.append((connection, transaction))

    def _look_again(self) -> None:
        written, self._written = self._written, []
        if self.rules.may_dot():
            return
        self.escaped += len(written)
        for connection, transaction in written:
            line = connection.line
            for claimed in transaction.claims:
                self.settle.escaped(claimed, line.mta, line.host, line.ip)

    def forget_reachable(self, now: float) -> None:
        """Drop what is known of addresses that have had their time."""
        over: Iterable[tuple[str, int]] = [at for at, (until, _) in self.unreachable.items() if until <= now]
        for address in over:
            del self.unreachable[address]
