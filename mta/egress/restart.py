"""Which transactions begin again on another connection at once, without an attempt lost."""

from collections.abc import Sequence

from mta.egress.connection import Connection
from mta.egress.transaction import Transaction
from mta.model.outcomes import Reply
from mta.policy.failures import Trouble

MOST_RESTARTS = 20  # of one transaction
_BAD_SEQUENCE = 503


def may_restart(connection: Connection, transaction: Transaction, trouble: Trouble | None) -> bool:
    """Of a transaction that ended before its dot. A server may close a connection that carried mail before, or take no
    more on it: it says 421 or closes, and any connection will do; or it refuses the message, which says nothing yet
    about the message itself, so that a new connection is asked (`transaction.anew`)."""
    machine = connection.machine
    again = connection.carried > 1 and transaction.restarts < MOST_RESTARTS
    refusals = () if machine.goodbye is not None else machine.refusals
    if refusals:
        transaction.anew = _is_asked_again(connection, refusals) and again
        return transaction.anew
    early, data, goodbye = machine.early, machine.data, machine.goodbye
    lost = trouble is not None and (early is None or early is goodbye) and (data is None or data is goodbye)
    return again and lost


def _is_asked_again(connection: Connection, refusals: Sequence[Reply]) -> bool:
    """A bad sequence (503) is the connection's. Else once for each connection, of what is no 5xx to the recipients or
    to DATA: a host that refuses the next one too means the mail."""
    if any(reply.code == _BAD_SEQUENCE for reply in refusals):
        return True
    if refusals[0] is not connection.machine.mail and any(reply.code >= 500 for reply in refusals):
        return False
    before, connection.refuses = connection.refuses, True
    return not before
