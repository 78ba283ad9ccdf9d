"""One message on its way to the recipients of one queue, and what its replies mean for each of them."""

from mta.egress.dial import Line
from mta.model.ids import MessageId, delivery_text, message_of
from mta.model.mail import Claimed
from mta.model.outcomes import Origin, Outcome, Reply, Stage, Verdict
from mta.model.phases import Phase
from mta.model.rules import PastDot, Rule
from mta.policy.failures import Trouble, judge
from mta.policy.rule_effect import effect_of
from mta.smtp.client_machine import ClientMachine

MOST_RECIPIENTS = 100

_DELIVERED, _REMOTE = Verdict.DELIVERED, Origin.REMOTE


class Transaction:
    """Claimed deliveries of the same message and queue, at most 100."""

    __slots__ = (
        "anew",
        "begun_at",
        "claims",
        "content",
        "dot_at",
        "expires_at",
        "labels",
        "past_dot_of",
        "recipients",
        "refused",
        "restarts",
        "sender",
        "stopped_at",
    )

    def __init__(self, first: Claimed) -> None:
        self.claims = [first]
        self.recipients = [first.record.recipient]
        self.sender = first.record.sender
        self.labels = first.record.labels
        self.content = first.content
        self.begun_at = 0.0  # loop time of MAIL
        self.dot_at = 0  # Unix ms at which the dot was handed over, 0 = not yet
        self.past_dot_of: tuple[str, ...] = ()
        self.expires_at = first.record.expires_at  # Unix ms; the earliest of its deliveries
        self.restarts = 0  # how often a connection that had been used before was lost under it, or refused it
        self.anew = False  # only a connection that has carried nothing may carry it
        self.refused: tuple[Outcome, ...] = ()  # by delivery, as the host before said; () = this is the first host
        self.stopped_at = ""  # where it had to wait for a permit last: "mail" | "dot"

    @property
    def message(self) -> MessageId:
        return message_of(self.claims[0].id)

    def add(self, claimed: Claimed) -> None:
        self.claims.append(claimed)
        self.recipients.append(claimed.record.recipient)
        self.expires_at = min(self.expires_at, claimed.record.expires_at)
        if self.content is None:
            self.content = claimed.content

    def listed(self, rule: str) -> list[PastDot]:
        """The entries for a rule that lets it go on: the dot had been handed over when the rule came, or what has begun
        may finish. For each of its generations, since each has a list of its own."""
        if rule not in self.past_dot_of:
            self.past_dot_of += (rule,)
        return [
            PastDot(rule, delivery_text(claimed.id), claimed.record.recipient, self.dot_at) for claimed in self.claims
        ]

    def __repr__(self) -> str:
        return f"<Transaction {delivery_text(self.claims[0].id)} recipients={len(self.claims)} dot_at={self.dot_at}>"


def results(
    transaction: Transaction, machine: ClientMachine, line: Line, trouble: Trouble | None, ms: int
) -> list[Outcome]:
    """One outcome for each claim, in order; `trouble` is why the session ended before its last reply."""
    mail, final, data = machine.mail, machine.final, machine.data
    rcpts = machine.rcpts
    taken = mail is not None and 200 <= mail.code < 300
    outcomes: list[Outcome] = []
    shared: Outcome | None = None  # of all recipients that the server took
    for number in range(len(transaction.claims)):
        if mail is not None and not taken:
            outcomes.append(_of_reply(Phase.MAIL, mail, transaction, line, ms))
        elif taken and number < len(rcpts) and not 200 <= rcpts[number].code < 300:
            outcomes.append(_of_reply(Phase.RCPT, rcpts[number], transaction, line, ms))
        else:
            if shared is None:
                shared = _of_message(transaction, machine, final, data, line, trouble, ms)
            outcomes.append(shared)
    return outcomes


def _of_message(
    transaction: Transaction,
    machine: ClientMachine,
    final: Reply | None,
    data: Reply | None,
    line: Line,
    trouble: Trouble | None,
    ms: int,
) -> Outcome:
    if final is not None and 200 <= final.code < 300:
        past_dot_of = transaction.past_dot_of
        return Outcome(_DELIVERED, final, _REMOTE, line.mta, line.host, line.ip, line.tls, ms, past_dot_of=past_dot_of)
    if final is not None and final.code >= 400:
        return _of_reply(Phase.DOT, final, transaction, line, ms)
    if data is not None and data.code >= 400:
        return _of_reply(Phase.DATA, data, transaction, line, ms)
    uncertain = transaction.dot_at != 0
    refusal = machine.early or machine.goodbye
    if refusal is not None and not uncertain:
        return _of_reply(machine.phase, refusal, transaction, line, ms)
    if trouble is None:
        raise AssertionError(f"{transaction!r} ended without a reply and without trouble")
    return of_trouble(trouble, line, ms, uncertain=uncertain, past_dot_of=transaction.past_dot_of)


def _of_reply(phase: Phase, reply: Reply, transaction: Transaction, line: Line, ms: int) -> Outcome:
    """Of a reply that is no."""
    return Outcome(
        judge(phase, reply).verdict,
        reply,
        _REMOTE,
        line.mta,
        line.host,
        line.ip,
        line.tls,
        ms,
        reason=f"{phase.value} ({line.host})",
        past_dot_of=transaction.past_dot_of,
    )


def of_trouble(
    trouble: Trouble,
    line: Line | None = None,
    ms: int = 0,
    *,
    uncertain: bool = False,
    past_dot_of: tuple[str, ...] = (),
) -> Outcome:
    """What trouble makes of a delivery; without a line the trouble itself names the host."""
    return Outcome(
        trouble.verdict,
        trouble.reply,
        trouble.origin,
        line.mta if line else "",
        line.host if line else trouble.host,
        line.ip if line else trouble.ip,
        line.tls if line else "",
        ms,
        reason=trouble.reason,
        uncertain=uncertain,
        past_dot_of=past_dot_of,
        unintelligible=trouble.unintelligible,
    )


def of_rule(rule: Rule, generation: int, stage: Stage, line: Line | None, ms: int) -> Outcome:
    """The effect of a rule that matched a transaction. The peer is named where it was spoken to about the message, or
    where the rule selects by it."""
    chosen = rule.selectors
    peer = line if stage is Stage.BEFORE_DOT or chosen.ip is not None or chosen.mx is not None else None
    return effect_of(
        rule,
        generation,
        stage,
        mta=line.mta if line else "",
        mx=peer.host if peer else "",
        remote_ip=peer.ip if peer else "",
        tls=peer.tls if peer else "",
        duration_ms=ms,
    )


def canceled(line: Line | None, ms: int) -> Outcome:
    """Somebody cancels the message; a line is given where MAIL was written."""
    return Outcome(
        Verdict.CANCELED,
        Reply(0),
        Origin.LOCAL,
        line.mta if line else "",
        line.host if line else "",
        line.ip if line else "",
        line.tls if line else "",
        ms,
        reason="canceled",
    )


def returned(why: str) -> Outcome:
    """Not attempted: back to the queue as it was."""
    return Outcome(Verdict.RETURNED, Reply(451, "4.3.2", why), Origin.LOCAL, reason=why)
