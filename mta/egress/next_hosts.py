"""Next hosts: when a host answers 4xx, the hosts after it get the same mail in the same attempt (RFC 5321 5.1).

Mail that is older than `delivery.alternate_after` goes on to the next routes of its domain in the same way.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

from mta.egress.connect import Connected, Connecting
from mta.egress.connection import Connection
from mta.egress.connection_budget import Attempt, Standing
from mta.egress.slots import Slot
from mta.egress.targets import NOWHERE, Onward
from mta.egress.transaction import Transaction
from mta.egress.transaction_end import TransactionEnd
from mta.egress.waiting import Waiting
from mta.model.errors import StoreError
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Outcome, Verdict
from mta.model.replies import Reaction
from mta.policy.failures import Trouble
from mta.timing.clock import wall_ms

_PER_CONNECTION = 8  # transactions that may wait for each connection before another is opened


class NextHostsOwner(Protocol):
    """The outlet, as its next hosts see it."""

    def connected_to_next_host(self, connected: Connected, hosts: "NextHosts") -> None:
        """A connection to one of `hosts` is open, for the mail that waits for them."""
        ...

    def start_next(self, connection: Connection) -> bool:
        """Start the next transaction on this connection; False: none may start."""
        ...


class NextHosts:
    """The transactions that go the same way onward, and the connections that carry them."""

    def __init__(
        self,
        queue: QueueKey,
        onward: Onward,
        connecting: Connecting,
        end: TransactionEnd,
        owner: NextHostsOwner,
    ) -> None:
        self.waiting = Waiting()
        self.idle: deque[Connection] = deque()
        self.connections = 0
        self._queue = queue
        self._onward = onward
        self._connector, self._budget, self._slots, self._sites, self._shutdown, self._loop = connecting
        host = onward.first_host
        self._site = self._sites.of_target(queue.domain, host) if host else queue.domain
        self._end = end
        self._owner = owner
        self._task: asyncio.Task[Connected | None] | None = None

    @property
    def quiet(self) -> bool:
        return not (self.waiting or self.connections or self._task)

    def pump(self) -> None:
        """Start waiting transactions on idle connections. Open the first connection, or another one if many
        transactions wait; but none while other destinations need every place."""
        while self.waiting and self.idle:
            connection = self.idle.popleft()
            self._budget.mark_busy(connection)
            if connection.usable and not self._owner.start_next(connection):
                break
        if self._task is not None or len(self.waiting) <= _PER_CONNECTION * self.connections or self._shutdown.begun:
            return
        attempt = self._budget.begin_further(self._loop.time())
        if attempt is None:
            if not self.connections:
                self._give_up()
            return
        self._task = self._loop.create_task(self._open(attempt))
        self._task.add_done_callback(lambda task: self._opened(task, attempt))

    def stop(self) -> None:
        """Stop opening a connection."""
        if self._task is not None:
            self._task.cancel()

    async def _open(self, attempt: Attempt) -> Connected | None:
        slot: Slot | float = 0.0
        connected: Connected | None = None
        try:
            slot = await self._slots.take(self._queue, self._site)
            if isinstance(slot, Slot):
                found = await self._connector.connect(self._queue, slot, attempt, _at_once, self._onward)
                connected = None if isinstance(found, Trouble) else found
        except StoreError:
            pass
        finally:
            if isinstance(slot, Slot) and connected is None:
                self._slots.give(slot)
        return connected

    def _opened(self, task: asyncio.Task[Connected | None], attempt: Attempt) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        connected = None if task.cancelled() or error is not None else task.result()
        if connected is None:
            self._budget.end(attempt, self._loop.time())
            self._shutdown.progressed()
            if not self.connections:
                self._give_up()
        else:
            attempt.standing = Standing.OVER  # the connection holds its place now
            self.connections += 1
            self._owner.connected_to_next_host(connected, self)
        if error is not None:
            raise error

    def _give_up(self) -> None:
        for transaction in self.waiting.take_all():
            self._end.settle_with_last_refusal(transaction)


class AllNextHosts:
    """All next hosts of one outlet, by the way onward."""

    def __init__(
        self,
        queue: QueueKey,
        connecting: Connecting,
        end: TransactionEnd,
        owner: NextHostsOwner,
        alternate_after: float,
    ) -> None:
        """`alternate_after`: seconds, the age from which mail goes on to the next route."""
        self._queue = queue
        self._alternate_after_ms = alternate_after * 1000
        self._connecting = connecting
        self._end = end
        self._owner = owner
        self._lists: dict[Onward, NextHosts] = {}
        self.serves: dict[Connection, NextHosts] = {}

    def __len__(self) -> int:
        return len(self._lists)

    @property
    def deliveries(self) -> int:
        return sum(hosts.waiting.deliveries for hosts in self._lists.values())

    def waiting(self) -> Iterator[Waiting]:
        return (hosts.waiting for hosts in self._lists.values())

    def pass_on(
        self, connection: Connection, transaction: Transaction, outcomes: list[Outcome]
    ) -> Collection[DeliveryId]:
        """Give the deliveries that the host refused with 4xx to the next hosts. Returns the ids of these deliveries."""
        if self._connecting.shutdown.begun:
            return ()
        rcpts = connection.machine.rcpts
        targets, routes = connection.onward
        old = wall_ms() - self._alternate_after_ms if routes else 0.0

        def onward(number: int, outcome: Outcome) -> Onward:
            record = transaction.claims[number].record
            left = routes if max(record.accepted_at, record.scheduled_at) <= old else ()
            was_taken = number >= len(rcpts) or 200 <= rcpts[number].code < 300
            # Other hosts of the route would answer alike where the message itself was refused, or the reply is known
            # and does not concern the host alone.
            alike = transaction.dot_at and was_taken
            known = outcome.known
            if known is not None and known.reaction is not Reaction.NEXT_HOST and outcome.origin is Origin.REMOTE:
                alike = True
            return Onward(() if alike else targets, left)

        passed_on: set[DeliveryId] = set()
        for where, left in left_for_next_host(transaction, outcomes, onward).items():
            hosts = self._lists.get(where)
            if hosts is None:
                hosts = self._lists[where] = NextHosts(self._queue, where, self._connecting, self._end, self._owner)
            hosts.waiting.put_last(left)
            hosts.pump()
            passed_on.update(claimed.id for claimed in left.claims)
        return passed_on

    def lost(self, connection: Connection) -> None:
        hosts = self.serves.pop(connection, None)
        if hosts is not None:
            hosts.connections -= 1
            if connection in hosts.idle:
                hosts.idle.remove(connection)
            hosts.pump()

    def tick(self) -> None:
        for onward, hosts in list(self._lists.items()):
            self._end.end_expired(hosts.waiting, wall_ms())
            hosts.pump()
            if hosts.quiet:
                del self._lists[onward]

    def unwanted(self) -> None:
        """Waiting mail was taken away: stop opening connections that no transaction needs any more."""
        for hosts in self._lists.values():
            if not hosts.waiting:
                hosts.stop()

    def stop(self) -> None:
        for hosts in self._lists.values():
            hosts.stop()


async def _at_once() -> None:
    """The attempt has its place from the beginning."""


def left_for_next_host(
    transaction: Transaction, outcomes: list[Outcome], onward: Callable[[int, Outcome], Onward]
) -> dict[Onward, Transaction]:
    """The deliveries that another host may get, as new transactions by their way `onward` (NOWHERE: there is none):
    those that the host refused with 4xx or cut off before their final dot was handed over."""
    left: dict[Onward, Transaction] = {}
    refused: dict[Onward, list[Outcome]] = {}
    for number, (claimed, outcome) in enumerate(zip(transaction.claims, outcomes, strict=True)):
        if outcome.verdict is not Verdict.TEMPORARY or outcome.uncertain or outcome.forced is not None:
            continue
        where = onward(number, outcome)
        if where == NOWHERE:
            continue
        if where in left:
            left[where].add(claimed)
        else:
            left[where] = Transaction(claimed, transaction.site)
            left[where].past_dot_of, left[where].past_dot_of_some = (
                transaction.past_dot_of,
                transaction.past_dot_of_some,
            )
        refused.setdefault(where, []).append(outcome)
    for where, found in left.items():
        found.refused = tuple(refused[where])
    return left
