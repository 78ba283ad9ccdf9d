"""The owner of an opener: the outlet, as the opener of its connections sees it."""

from typing import Protocol

from mta.egress.connect import Connected
from mta.model.ids import MessageId
from mta.policy.failures import Trouble


class OpenerOwner(Protocol):
    """The outlet, as its opener sees it."""

    def pump(self) -> None:
        """Start waiting transactions on idle connections. Open another connection if more transactions wait."""
        ...

    def connected(self, connected: Connected) -> None:
        """A connection is open."""
        ...

    def unreachable(self, trouble: Trouble, message: MessageId | None) -> None:
        """No host could be reached and the queue has no connection: settle the waiting deliveries with `trouble`. The
        connection was to be opened for `message`."""
        ...

    def no_further_connection(self, trouble: Trouble) -> None:
        """There are connections, and another one could not be opened: settle transactions that need a new one."""
        ...

    def no_slot(self) -> None:
        """Other processes hold every slot of the domain: return the waiting deliveries to the queue, so that those
        processes can claim them."""
        ...

    def report_room(self) -> None:
        """The outlet may have room again."""
        ...
