"""Deliveries as PowerMTA's accounting file has them (CSV, RFC 4180), so that programs that read such files can go on.

A delivery that a forced error ended has a type of its own, `fe`, one that was canceled `ca`, and one that a
suppression, a quota or the simulation ended `fi`: programs that clean address lists take each `b` for a fault of the
recipient, and these are none.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from control_api.history.lines import csv_rows
from mta.model.delivery_facts import Facts
from mta.model.events import Event
from mta.model.replies import ALIASES
from mta.model.status import ENDED, DeliveryRow, Reason, Status, standing_of

COLUMNS: Final = (
    "type", "timeLogged", "timeQueued", "totalSecondsQueued", "orig", "rcpt", "orcpt", "dsnAction", "dsnStatus",
    "dsnDiag", "dsnMta", "bounceCat", "srcType", "srcMta", "dlvType", "dlvSourceIp", "dlvDestinationIp",
    "dlvEsmtpAvailable", "dlvSize", "vmta", "jobId", "envId", "queue", "vmtaPool", "dlvTlsProtocol", "dlvTlsCipher",
)  # fmt: skip

DELIVERED: Final = "d"
BOUNCED: Final = "b"
FORCED: Final = "fe"
CANCELED: Final = "ca"
FILTERED: Final = "fi"  # by a suppression, a quota or the simulation

_NO_FAULT: Final = "other"
# By the beginning of the enhanced code (RFC 3463), where no category is known: PowerMTA's name.
_BY_CODE: Final = {
    "5.1.1": "bad-mailbox", "5.1.2": "bad-domain", "5.1.10": "bad-domain", "5.1.6": "inactive-mailbox",
    "5.2.1": "inactive-mailbox", "5.2.2": "quota-issues", "5.2.3": "quota-issues", "5.3.4": "quota-issues",
    "5.1.7": "invalid-sender", "5.1.8": "invalid-sender", "4.4.7": "message-expired", "5.4.4": "routing-errors",
    "5.4.6": "routing-errors", "5.5.0": "protocol-errors", "5.5.1": "protocol-errors", "5.5.2": "protocol-errors",
    "5.6.0": "content-related", "5.7.1": "policy-related",
}  # fmt: skip


def header() -> bytes:
    return (",".join(COLUMNS) + "\r\n").encode()


def accounting_lines(rows: Sequence[DeliveryRow], forced: str = FORCED) -> bytes:
    """A line for each delivery that has ended; `forced` is the type of those that a forced error ended."""
    return csv_rows([_cells(row, forced) for row in rows if standing_of(row.last).status in ENDED])


def _cells(row: DeliveryRow, forced: str) -> Facts:
    event = row.last
    status, reason = standing_of(event)
    queued_at = row.accepted_at
    kind, action = _type(status, reason, forced)
    protocol, _, cipher = event.tls.partition(" ")
    return (
        kind, _when(event.time // 1000), _when(queued_at // 1000), max(0, event.time - queued_at) // 1000,
        event.sender or "", event.recipient, "", action, event.enhanced, _diagnosis(event),
        _peer(event), "" if kind == DELIVERED else _category(event, reason), "smtp", event.client, "smtp",
        event.mta, event.remote_ip, "", event.size, event.pool, event.tags[0] if event.tags else "", "",
        f"{event.domain}/{event.pool}", event.pool, protocol, cipher,
    )  # fmt: skip


def _type(status: Status, reason: Reason | None, forced: str) -> tuple[str, str]:
    """The type, and the action as in a delivery status notification (RFC 3464 2.3.3)."""
    if status is Status.DELIVERED:
        return DELIVERED, "delivered"
    if status is Status.SENT:
        return DELIVERED, "relayed"
    if status is Status.CANCELED:
        return CANCELED, "failed"
    if status in (Status.FILTERED, Status.THROTTLED, Status.SIMULATED):
        return FILTERED, "failed"
    return (forced if reason is Reason.INTERCEPTED else BOUNCED), "failed"


def _category(event: Event, reason: Reason | None) -> str:
    if reason in (Reason.INTERCEPTED, None):
        return _NO_FAULT
    if reason is Reason.EXPIRED:
        return "message-expired"
    if event.category in ALIASES:
        return ALIASES[event.category][0]
    return _BY_CODE.get(event.enhanced, "routing-errors" if reason is Reason.UNROUTABLE else _NO_FAULT)


def _diagnosis(event: Event) -> str:
    """As Diagnostic-Code has it (RFC 3464 2.3.6)."""
    if not event.code:
        return ""
    return f"smtp;{' '.join(part for part in (str(event.code), event.enhanced, event.text) if part)}"


def _peer(event: Event) -> str:
    return f"{event.mx} ({event.remote_ip})" if event.mx and event.remote_ip else event.mx


@lru_cache(maxsize=1024)
def _when(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+0000", time.gmtime(seconds))
