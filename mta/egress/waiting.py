"""The transactions that wait in an outlet for a connection, in the order in which they came."""

from collections import deque
from collections.abc import Iterable

from mta.egress.transaction import MOST_RECIPIENTS, Transaction
from mta.model.mail import Claimed


class Waiting:
    """A queue of transactions that also counts their deliveries."""

    __slots__ = ("_anew", "_transactions", "deliveries")

    def __init__(self) -> None:
        self._transactions: deque[Transaction] = deque()
        self._anew: deque[Transaction] = deque()  # only a new connection may carry these
        self.deliveries = 0

    def __len__(self) -> int:
        return len(self._transactions) + len(self._anew)

    @property
    def ready(self) -> int:
        """The number of transactions that any connection may carry."""
        return len(self._transactions)

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
                groups[message] = transaction = Transaction(one)
                self._transactions.append(transaction)
            else:
                transaction.add(one)
            self.deliveries += 1

    def first(self, new: bool = True) -> Transaction | None:
        """The next transaction for a connection that is `new`, or for one that has carried mail."""
        if new and self._anew:
            return self._anew[0]
        return self._transactions[0] if self._transactions else None

    def pop(self, first: Transaction) -> Transaction:
        """Take out the transaction that `first` has returned."""
        (self._anew if first.anew else self._transactions).popleft()
        self.deliveries -= len(first.claims)
        return first

    def put_back(self, transaction: Transaction) -> None:
        """Put the transaction at the front; one that needs a new connection goes behind the others that need one."""
        if transaction.anew:
            self._anew.append(transaction)
        else:
            self._transactions.appendleft(transaction)
        self.deliveries += len(transaction.claims)

    def put_last(self, transaction: Transaction) -> None:
        (self._anew if transaction.anew else self._transactions).append(transaction)
        self.deliveries += len(transaction.claims)

    def take_anew(self, before: float) -> list[Transaction]:
        """Take out the transactions that need a new connection and were refused before the loop time `before`."""
        taken: list[Transaction] = []
        while self._anew and self._anew[0].begun_at < before:
            taken.append(self._anew.popleft())
            self.deliveries -= len(taken[-1].claims)
        return taken

    def take_expired(self, now: int) -> list[Transaction]:
        """Take out the transactions with a delivery that has expired at `now` (Unix ms)."""
        expired = [transaction for transaction in (*self._anew, *self._transactions) if transaction.expires_at <= now]
        if expired:
            for transaction in self.take_all():
                if transaction.expires_at > now:
                    self.put_last(transaction)
        return expired

    def take_all(self) -> list[Transaction]:
        """Take out all transactions, in order."""
        transactions = [*self._anew, *self._transactions]
        self._anew.clear()
        self._transactions.clear()
        self.deliveries = 0
        return transactions
