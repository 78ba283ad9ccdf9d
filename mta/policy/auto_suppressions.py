"""The bounces that suppress an address: those whose fault is the recipient's, as the destination said it."""

from typing import Final

from mta.model.events import Event, EventType
from mta.model.outcomes import Origin
from mta.model.replies import Fault
from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.model.text import visible
from mta.policy.addresses import comparable

AUTHOR: Final = "hard_bounce"

_BOUNCE: Final = EventType.BOUNCE  # to look a member up at its class takes ten times as long
_RECIPIENT: Final = Fault.RECIPIENT.value
_DAY_MS: Final = 86_400_000
_LONGEST_NOTE: Final = 200  # characters

# Milliseconds for which the address is suppressed, 0 = until somebody removes it. A mailbox that was full may have room
# again, and a domain may be registered again.
_FOR: Final = {"bad_mailbox": 0, "inactive_mailbox": 0, "quota": 7 * _DAY_MS, "bad_domain": 30 * _DAY_MS}
# RFC 3463 3.2: bad system, bad syntax, ambiguous. Servers say these of addresses that exist, such as Outlook's "550
# 5.1.4 Recipient address rejected: Access denied".
_NOT_SURE: Final = frozenset(("5.1.2", "5.1.3", "5.1.4"))


def suppression_by(event: Event) -> Suppressed | None:
    """The suppression that the event calls for, None = none. A forced error, an expiry and a failure with any other
    fault never suppress anybody."""
    if event.type is not _BOUNCE or event.fault != _RECIPIENT or event.origin is not Origin.REMOTE:
        return None
    if event.forced is not None or event.category not in _FOR or event.enhanced in _NOT_SURE or event.code < 500:
        return None
    span = _FOR[event.category]
    said = visible(" ".join(filter(None, (str(event.code), event.enhanced, event.text))))
    value = Suppression(
        Reason.HARD_BOUNCE,
        event.time,
        AUTHOR,
        event.time + span if span else 0,
        said[:_LONGEST_NOTE],
    )
    return Suppressed(SuppressionKey(comparable(event.recipient), event.tenant), value)
