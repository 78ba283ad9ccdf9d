"""The books of a flow: receipts, statements and delivery log tell one story, or its figures mean nothing."""

import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psutil

from bench.log_tail import LogTail
from bench.plan import CAMPAIGN, CUSTOMERS, customer_of
from bench.processes import RunVoid

_JOURNAL_WITHIN = 5.0


class Relay(Protocol):
    """A node, or several on one store."""

    smtp: str  # where the source sends
    logs: list[Path]  # delivery logs

    def get(self, path: str) -> Any:
        """The JSON of a path that must be there."""
        ...

    def family(self) -> list[psutil.Process]:
        """All processes but source and sink."""
        ...


class Told(NamedTuple):
    """Figures from the statement of a tag, in deliveries."""

    accepted: int
    delivered: int
    intercepted: int
    queued: int
    balanced: bool

    @property
    def ended(self) -> int:
        return self.delivered + self.intercepted

    def since(self, before: "Told") -> "Told":
        return self._replace(
            accepted=self.accepted - before.accepted,
            delivered=self.delivered - before.delivered,
            intercepted=self.intercepted - before.intercepted,
        )


def told(node: Relay, tag: str) -> Told:
    statement = node.get(f"/v1/tags/{tag}")
    return Told(
        int(statement["accepted"]),
        int(statement["delivered"]),
        sum(statement["intercepted"].values()),
        int(statement["queued"]),
        bool(statement["balanced"]),
    )


class Books:
    """The additions of one flow to the statements and to the delivery log; made before its first message."""

    def __init__(self, node: Relay, recipients: int, patience: float) -> None:
        """`patience`: seconds that the destination may take for a reply on purpose."""
        self._node = node
        self._recipients = recipients
        self._journal_within = _JOURNAL_WITHIN + patience
        self._delivered = LogTail(node.logs, "Delivery")
        self._intercepted = LogTail(node.logs, "Intercepted")
        self._before = {tag: told(node, tag) for tag in (CAMPAIGN, customer_of(0))}

    def told(self, tag: str = CAMPAIGN) -> Told:
        """The figures of the flow by its tag's statement."""
        return told(self._node, tag).since(self._before[tag])

    def journal_caught_up(self, delivered: int, intercepted: int | None, last: float) -> float:
        """Seconds from `last` (Unix time) until the log has a line per delivery. Raises RunVoid when it takes long.

        `intercepted` is None where interceptions are other mail's.
        """
        awaited = [("Delivery", self._delivered, delivered)]
        if intercepted is not None:
            awaited.append(("Intercepted", self._intercepted, intercepted))
        for kind, log, expected in awaited:
            while (found := log.count()) != (expected, expected):
                late = time.time() - last
                if late > self._journal_within or found[0] > expected:
                    raise RunVoid(
                        f"{late:.1f} s after the last receipt the delivery log has {found[0]} {kind} lines for "
                        f"{found[1]} deliveries, not {expected}"
                    )
                time.sleep(0.1)
        return round(max(time.time() - last, 0.0), 2)

    def statement(self, sent: dict[str, Any], received: int, intercepted: bool) -> dict[str, Any]:
        """The statement of the campaign's tag, where it equals the receipts. Raises RunVoid."""
        accepted = sent["accepted"] * self._recipients
        share = len(range(0, sent["messages"], CUSTOMERS)) * self._recipients
        whole, customer = self.told(), self.told(customer_of(0))
        checks = (
            ("accepted", whole.accepted, accepted),
            ("delivered", whole.delivered, received),
            ("delivered and intercepted", whole.ended, accepted),
            ("intercepted", whole.intercepted > 0, intercepted),
            ("balanced", whole.balanced, True),
            (f"delivered and intercepted of {customer_of(0)}", customer.ended, share),
        )
        wrong = [f"{what} is {found}, not {wanted}" for what, found, wanted in checks if found != wanted]
        if wrong:
            raise RunVoid(f"the statement of {CAMPAIGN} is wrong: {'; '.join(wrong)}")
        return dict(self._node.get(f"/v1/tags/{CAMPAIGN}"))
