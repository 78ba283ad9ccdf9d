"""The transactions that wait in an outlet for a connection: their shares take turns, in each they go as they came."""

from collections import deque
from collections.abc import Iterable

from mta.egress.transaction import MOST_RECIPIENTS, Transaction
from mta.model.mail import Claimed
from mta.model.shares import weight_of
from mta.policy.turns import Turns, Weigh


class Waiting:
    """A queue of transactions that also counts their deliveries."""

    __slots__ = ("_anew", "_lines", "_next", "_site", "_turns", "_weigh", "deliveries", "ready")

    def __init__(self, weigh: Weigh = weight_of, site: str = "") -> None:
        """`weigh` gives the weight of a share; `site` is that of the domain."""
        self._site = site
        self._lines: dict[str, deque[Transaction]] = {}  # by share; none is empty
        self._anew: deque[Transaction] = deque()  # those that only a new connection may carry
        self._weigh = weigh
        self._turns: Turns | None = None  # None: no two shares have waited at a time
        self._next: str | None = None  # the share whose turn it is, None = it must be asked for
        self.deliveries = 0
        self.ready = 0  # how many transactions may go on any connection

    def __len__(self) -> int:
        return self.ready + len(self._anew)

    @property
    def anew(self) -> int:
        """The number of transactions that only a connection without earlier mail may carry."""
        return len(self._anew)

    def add(self, claimed: Iterable[Claimed]) -> None:
        """Add deliveries of one queue; deliveries of the same message become one transaction."""
        groups: dict[bytes, Transaction] = {}
        for one in claimed:
            message = one.id[:16]
            transaction = groups.get(message)
            if transaction is None or len(transaction.claims) >= MOST_RECIPIENTS:
                groups[message] = transaction = Transaction(one, self._site)
                self._line(transaction).append(transaction)
            else:
                transaction.add(one)
            self.deliveries += 1

    def lacks(self, share: str) -> bool:
        """Whether others wait, and none of the share."""
        return bool(self._lines) and share not in self._lines

    def first(self, new: bool = True) -> Transaction | None:
        """The next transaction for a connection that is `new`, or for one that has carried mail."""
        if new and self._anew:
            return self._anew[0]
        lines = self._lines
        if not lines:
            return None
        if len(lines) == 1:
            for line in lines.values():
                return line[0]
        if self._turns is None:
            self._turns = Turns(self._weigh)
        if self._next is None:
            self._next = self._turns.first(lines)
        return lines[self._next][0]

    def pop(self, first: Transaction) -> Transaction:
        """Take out what `first` has given."""
        if first.anew:
            self._anew.popleft()
        else:
            lines, share = self._lines, first.share
            line = lines[share]
            line.popleft()
            self.ready -= 1
            self._next = None
            if self._turns is not None and len(lines) > 1:
                self._turns.served(share, len(first.claims))
            if not line:
                del lines[share]
        self.deliveries -= len(first.claims)
        return first

    def put_back(self, transaction: Transaction) -> None:
        """Put the transaction at the front; one that needs a new connection goes behind the others that need one."""
        if transaction.anew:
            self._anew.append(transaction)
        else:
            self._line(transaction).appendleft(transaction)
        self.deliveries += len(transaction.claims)

    def put_last(self, transaction: Transaction) -> None:
        (self._anew if transaction.anew else self._line(transaction)).append(transaction)
        self.deliveries += len(transaction.claims)

    def take_anew(self, before: float) -> list[Transaction]:
        """Take out the transactions that need a new connection and were refused before the loop time `before`."""
        taken: list[Transaction] = []
        while self._anew and self._anew[0].begun_at < before:
            taken.append(self._anew.popleft())
            self.deliveries -= len(taken[-1].claims)
        return taken

    def take_expired(self, now: int) -> list[Transaction]:
        """Take out those with a delivery whose time, or window, is over at `now` (Unix ms)."""
        expired = [transaction for transaction in self._all() if transaction.begins_before <= now]
        if expired:
            for transaction in self.take_all():
                if transaction.begins_before > now:
                    self.put_last(transaction)
        return expired

    def take_all(self) -> list[Transaction]:
        """Take out every one, in order."""
        transactions = self._all()
        self._anew.clear()
        self._lines.clear()
        self._next = None
        self.ready = self.deliveries = 0
        return transactions

    def _all(self) -> list[Transaction]:
        return [*self._anew, *(transaction for line in self._lines.values() for transaction in line)]

    def _line(self, transaction: Transaction) -> deque[Transaction]:
        """The transactions of its share, to which it is added now."""
        self.ready += 1
        line = self._lines.get(transaction.share)
        if line is None:
            line = self._lines[transaction.share] = deque()
            self._next = None
        return line
