"""The rule table as the services that match deliveries see it: the current table, and whether it is fresh."""

from collections.abc import Callable, Sequence
from typing import Protocol

from mta.model.cancel_orders import CancelOrders
from mta.model.rules import PastDot
from mta.policy.rule_table import RuleTable


class Rules(Protocol):
    """The current table of this process, fresh until; reading it is synchronous and costs nothing."""

    @property
    def table(self) -> RuleTable:
        """Immutable; swapped whole. Its `head` tells which."""
        ...

    def may_send_mail(self) -> bool:
        """Whether a MAIL may be written now: now() < permit_until - S/2."""
        ...

    def may_send_dot(self) -> bool:
        """Whether a final dot may be written now: now() < permit_until. Asked before and after the write."""
        ...

    def is_fresh(self) -> bool:
        """Whether a decision by the table counts now: now() < permit_until."""
        ...

    def on_change(self, abort: Callable[[RuleTable], Sequence[PastDot]]) -> None:
        """Register the synchronous hook run right after each swap and before it is confirmed: it aborts every
        transaction that matches the new table and has not handed over its dot, and returns those that have, and those
        that have begun and may finish."""
        ...

    @property
    def canceled(self) -> CancelOrders:
        """The cancellations that were ordered in the last minutes; looked at when a claim comes in."""
        ...

    def on_cancel(self, abort: Callable[[CancelOrders], None]) -> None:
        """Register the synchronous hook run when cancellations become known, before the permit is renewed: it ends all
        these deliveries that have not handed over their dot, as canceled."""
        ...

    def on_permit(self, resume: Callable[[], None]) -> None:
        """Register a hook run after each renewed permit (deliveries that waited for one go on)."""
        ...

    def on_lost(self, drop: Callable[[], None]) -> None:
        """Register a hook run when the session was given up for dead: every claim held is someone else's now."""
        ...
