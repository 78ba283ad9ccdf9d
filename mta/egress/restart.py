"""Restarts: some transactions begin again at once on another connection and lose no attempt."""

from collections.abc import Sequence

from mta.egress.connection import Connection
from mta.egress.transaction import Transaction
from mta.model.outcomes import Reply
from mta.policy.failures import Trouble

MOST_RESTARTS = 20  # of one transaction
_BAD_SEQUENCE = 503


def may_restart(connection: Connection, transaction: Transaction, trouble: Trouble | None) -> bool:
    """Whether a transaction that ended before its dot may begin again. A server may stop to accept mail on a connection
    that has carried some. If it answers 421 or closes, any connection will do. If it refuses the message, only the
    answer on a new connection counts (`transaction.anew`)."""
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
    """Whether the message is tried again on a new connection: after 503, which concerns the connection; and once for
    each connection after any refusal but a 5xx to the recipients or to DATA. A second refusal concerns the message."""
    if any(reply.code == _BAD_SEQUENCE for reply in refusals):
        return True
    if refusals[0] is not connection.machine.mail and any(reply.code >= 500 for reply in refusals):
        return False
    before, connection.refuses = connection.refuses, True
    return not before
