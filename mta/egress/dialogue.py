"""The SMTP dialogue of a failed attempt in lines for people, without content.

It is put together from the replies once an attempt has failed, so mail that is delivered costs nothing for it.
"""

from collections.abc import Iterable
from typing import Final

from mta.egress.dial import ReadyConnection
from mta.egress.transaction import Transaction
from mta.model.outcomes import Reply
from mta.smtp.client_machine import ClientMachine
from mta.smtp.spoken import asked, bounded, in_words, said


def dialogue_of(
    transaction: Transaction, machine: ClientMachine, peer: ReadyConnection, number: int
) -> tuple[str, ...]:
    """The lines from the greeting to the last reply, of all recipients only `number` (from 0)."""
    lines = in_words(peer.opening)
    rcpts = machine.rcpts
    rcpt = rcpts[number] if number < len(rcpts) else None
    steps: tuple[tuple[str, Reply | None], ...] = (
        (machine.mail_command, machine.mail),
        (f"RCPT TO:<{transaction.recipients[number]}>", rcpt),
        ("DATA", machine.data),
    )
    for command, reply in steps:
        lines.append(asked(command))
        if reply is not None:
            lines.append(said(reply))
        if not machine.extensions.pipelining and (reply is None or reply.code >= 400):
            break
    if machine.data is not None and machine.data.code == _GO_ON:
        lines.append(_WHOLE if transaction.dot_at else _CUT_OFF)
    known = {id(reply) for _, reply in steps}
    lines += [said(reply) for reply in _others(machine) if id(reply) not in known]
    return bounded(lines)


_GO_ON: Final = 354
_WHOLE: Final = "C: (content and final dot)"
_CUT_OFF: Final = "C: (content, not finished)"


def _others(machine: ClientMachine) -> Iterable[Reply]:
    """Replies beside those to MAIL, RCPT and DATA, each once."""
    found: list[Reply] = []
    for reply in (machine.final, machine.early, machine.goodbye):
        if reply is not None and not any(reply is one for one in found):
            found.append(reply)
    return found
