"""The simulation: it plays the destination of mail that is to reach nobody, so that senders can rehearse.

The addresses `bounce`, `defer` and `stall` of the simulated domain play what they say, also with `+anything` behind
their name; every other recipient takes the mail.
"""

from collections.abc import Sequence
from typing import Final

from mta.model.mail import Recipient, Record
from mta.model.outcomes import Origin, Outcome, Reply, Verdict
from mta.model.replies import Fault, Known

_DELIVERED: Final = Outcome(Verdict.SIMULATED, Reply(0), Origin.LOCAL, reason="simulated: taken", simulated=True)
_PLAYED: Final = {
    "bounce": Outcome(
        Verdict.SIMULATED,
        Reply(550, "5.1.1", "no such mailbox (simulated)"),
        Origin.LOCAL,
        reason="simulated: refused",
        known=Known("bad_mailbox", Fault.RECIPIENT),
        simulated=True,
    ),
    "defer": Outcome(
        Verdict.TEMPORARY,
        Reply(451, "4.3.2", "try again later (simulated)"),
        Origin.LOCAL,
        reason="simulated: deferred",
        known=Known("rate_limited", Fault.PEER),
        simulated=True,
    ),
    "stall": Outcome(
        Verdict.TEMPORARY,
        Reply(451, "4.4.2", "the server did not answer in time (simulated)"),
        Origin.LOCAL,
        reason="simulated: no answer",
        known=Known("no_answer", Fault.PEER),
        simulated=True,
    ),
}


def is_of_simulation(recipients: Sequence[Recipient], domain: str) -> bool:
    """Whether all recipients are of the simulated domain."""
    return recipients[0].domain == domain and all(recipient.domain == domain for recipient in recipients)


def played(record: Record, is_of_domain: bool) -> Outcome:
    """The outcome of an attempt. `is_of_domain`: the recipient is of the simulated domain."""
    if not is_of_domain:
        return _DELIVERED
    name = record.recipient.rpartition("@")[0].partition("+")[0].lower()
    return _PLAYED.get(name, _DELIVERED)
