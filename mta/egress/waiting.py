"""What waits in an outlet for a connection: transactions, each with the deliveries of one message, first come first."""

from collections import deque
from collections.abc import Iterable

from mta.egress.transaction import MOST_RECIPIENTS, Transaction
from mta.model.mail import Claimed


class Waiting:
    """A queue of transactions that also knows how many deliveries they are."""

    __slots__ = ("_transactions", "deliveries")

    def __init__(self) -> None:
        self._transactions: deque[Transaction] = deque()
        self.deliveries = 0

    def __len__(self) -> int:
        return len(self._transactions)

    def add(self, claimed: Iterable[Claimed]) -> None:
        """Deliveries of one queue; those of the same message go together."""
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

    def first(self) -> Transaction | None:
        return self._transactions[0] if self._transactions else None

    def pop(self) -> Transaction:
        """Take out the first."""
        transaction = self._transactions.popleft()
        self.deliveries -= len(transaction.claims)
        return transaction

    def put_back(self, transaction: Transaction) -> None:
        """It is first again."""
        self._transactions.appendleft(transaction)
        self.deliveries += len(transaction.claims)

    def put_last(self, transaction: Transaction) -> None:
        self._transactions.append(transaction)
        self.deliveries += len(transaction.claims)

    def take_expired(self, now: int) -> list[Transaction]:
        """Take out those with a delivery whose time is over at `now` (Unix ms)."""
        expired = [transaction for transaction in self._transactions if transaction.expires_at <= now]
        if expired:
            for transaction in self.take_all():
                if transaction.expires_at > now:
                    self.put_last(transaction)
        return expired

    def take_all(self) -> list[Transaction]:
        """Take out every one, in order."""
        transactions = list(self._transactions)
        self._transactions.clear()
        self.deliveries = 0
        return transactions
