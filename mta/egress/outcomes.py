"""The outcome of each delivery of a transaction: by the server's replies, by trouble, or by this process itself."""

from msgspec.structs import replace

from mta.egress.dial import ReadyConnection
from mta.egress.dialogue import dialogue_of
from mta.egress.reply_knowledge import ReplyKnowledge
from mta.egress.transaction import Transaction
from mta.model.outcomes import Origin, Outcome, Reply, ReturnReason, Stage, Verdict
from mta.model.phases import Phase
from mta.model.replies import OUR_DECISION, Fault
from mta.model.rules import Rule
from mta.policy.failures import Trouble, known_trouble
from mta.policy.rule_effect import effect_of
from mta.smtp.client_machine import ClientMachine

_DELIVERED, _REMOTE = Verdict.DELIVERED, Origin.REMOTE


def of_replies(
    transaction: Transaction,
    machine: ClientMachine,
    peer: ReadyConnection,
    trouble: Trouble | None,
    ms: int,
    replies: ReplyKnowledge,
) -> list[Outcome]:
    """One outcome for each claim, in order; `trouble` is why the session ended before its last reply."""
    mail, final, data = machine.mail, machine.final, machine.data
    if final is not None and len(transaction.claims) == 1:  # it got as far as the dot: the recipient was accepted
        if 200 <= final.code < 300:
            return [_delivered(transaction, final, peer, ms)]
        outcome = _of_message(transaction, machine, final, data, peer, trouble, ms, replies)
        return _with_dialogues([outcome], transaction, machine, peer)
    rcpts = machine.rcpts
    taken = mail is not None and 200 <= mail.code < 300
    outcomes: list[Outcome] = []
    shared: Outcome | None = None  # of all recipients that the server took
    for number in range(len(transaction.claims)):
        if mail is not None and not taken:
            outcomes.append(_of_reply(Phase.MAIL, mail, transaction, peer, ms, replies))
        elif taken and number < len(rcpts) and not 200 <= rcpts[number].code < 300:
            if _are_too_many(rcpts[number]) and any(200 <= rcpt.code < 300 for rcpt in rcpts):
                outcomes.append(returned(ReturnReason.TOO_MANY_RECIPIENTS))  # they go in the next transaction
                continue
            outcomes.append(_of_reply(Phase.RCPT, rcpts[number], transaction, peer, ms, replies))
        else:
            if shared is None:
                shared = _of_message(transaction, machine, final, data, peer, trouble, ms, replies)
                if taken and sum(200 <= rcpt.code < 300 for rcpt in rcpts) > 1:
                    shared = _of_several(shared)
            outcomes.append(shared)
    return _with_dialogues(outcomes, transaction, machine, peer)


def _are_too_many(rcpt: Reply) -> bool:
    """Whether a server takes no further recipients in this transaction (RFC 5321 4.5.3.1.10)."""
    return rcpt.enhanced.endswith(".5.3") or (rcpt.code in (452, 552) and "too many recipients" in rcpt.text.lower())


def _of_several(outcome: Outcome) -> Outcome:
    """A reply to the message of several recipients does not tell which of them it blames."""
    known = outcome.known
    if known is None or known.fault != Fault.RECIPIENT:
        return outcome
    return replace(outcome, known=known._replace(fault=""))


def _with_dialogues(
    outcomes: list[Outcome], transaction: Transaction, machine: ClientMachine, peer: ReadyConnection
) -> list[Outcome]:
    """Each failure with the lines that led to it."""
    return [
        outcome
        if outcome.verdict is _DELIVERED
        else replace(outcome, dialogue=dialogue_of(transaction, machine, peer, number))
        for number, outcome in enumerate(outcomes)
    ]


def _delivered(transaction: Transaction, final: Reply, peer: ReadyConnection, ms: int) -> Outcome:
    return Outcome(
        _DELIVERED, final, _REMOTE, peer.mta, peer.host, peer.ip, peer.tls, ms,
        past_dot_of=transaction.past_dot_of, route=peer.route, tls_failed=peer.tls_failed,
    )  # fmt: skip


def _of_message(
    transaction: Transaction,
    machine: ClientMachine,
    final: Reply | None,
    data: Reply | None,
    peer: ReadyConnection,
    trouble: Trouble | None,
    ms: int,
    replies: ReplyKnowledge,
) -> Outcome:
    if final is not None and 200 <= final.code < 300:
        return _delivered(transaction, final, peer, ms)
    if final is not None and final.code >= 400:
        return _of_reply(Phase.DOT, final, transaction, peer, ms, replies)
    if data is not None and data.code >= 400:
        return _of_reply(Phase.DATA, data, transaction, peer, ms, replies)
    uncertain = transaction.dot_at != 0
    refusal = machine.early or machine.goodbye
    if refusal is not None and not uncertain:
        return _of_reply(machine.phase, refusal, transaction, peer, ms, replies)
    if trouble is None:
        raise AssertionError(f"{transaction!r} ended without a reply and without trouble")
    return of_trouble(trouble, replies, peer, ms, uncertain=uncertain, past_dot_of=transaction.past_dot_of)


def _of_reply(
    phase: Phase, reply: Reply, transaction: Transaction, peer: ReadyConnection, ms: int, replies: ReplyKnowledge
) -> Outcome:
    """Of a reply that is no."""
    verdict, known = replies.judge(phase, reply, peer.host)
    return Outcome(
        verdict,
        reply,
        _REMOTE,
        peer.mta,
        peer.host,
        peer.ip,
        peer.tls,
        ms,
        reason=f"{phase.value} ({peer.host})",
        past_dot_of=transaction.past_dot_of,
        known=known,
        route=peer.route,
        tls_failed=peer.tls_failed,
    )


def of_trouble(
    trouble: Trouble,
    replies: ReplyKnowledge,
    peer: ReadyConnection | None = None,
    ms: int = 0,
    *,
    uncertain: bool = False,
    past_dot_of: tuple[str, ...] = (),
) -> Outcome:
    """The outcome of trouble; without a peer the trouble itself names the host."""
    if trouble.origin is _REMOTE:
        known = replies.find(trouble.phase, trouble.reply, peer.host if peer else trouble.host)
    else:
        known = known_trouble(trouble.reply)
    return Outcome(
        trouble.verdict,
        trouble.reply,
        trouble.origin,
        peer.mta if peer else trouble.mta,
        peer.host if peer else trouble.host,
        peer.ip if peer else trouble.ip,
        peer.tls if peer else "",
        ms,
        reason=trouble.reason,
        uncertain=uncertain,
        past_dot_of=past_dot_of,
        unintelligible=trouble.unintelligible,
        dialogue=trouble.dialogue,
        known=known,
        route=peer.route if peer else trouble.route,
        tls_failed=peer.tls_failed if peer else _tls_failed(trouble),
        untried=trouble.untried,
    )


def _tls_failed(trouble: Trouble) -> str:
    return (trouble.reply.text or str(trouble.reply.code)) if trouble.phase is Phase.TLS else ""


def of_rule(rule: Rule, generation: int, stage: Stage, found: ReadyConnection | None, ms: int) -> Outcome:
    """The effect of a rule that matched a transaction. The peer is named where it was spoken to about the message, or
    where the rule selects by it."""
    chosen = rule.selectors
    peer = found if stage is Stage.BEFORE_DOT or chosen.ip is not None or chosen.mx is not None else None
    return effect_of(
        rule,
        generation,
        stage,
        mta=found.mta if found else "",
        mx=peer.host if peer else "",
        remote_ip=peer.ip if peer else "",
        tls=peer.tls if peer else "",
        duration_ms=ms,
    )


def canceled(peer: ReadyConnection | None, ms: int, by: str) -> Outcome:
    """`by` cancels the delivery; a peer is given where MAIL was written."""
    return Outcome(
        Verdict.CANCELED,
        Reply(0),
        Origin.LOCAL,
        peer.mta if peer else "",
        peer.host if peer else "",
        peer.ip if peer else "",
        peer.tls if peer else "",
        ms,
        reason="canceled",
        by=by,
        known=OUR_DECISION,
    )


def returned(reason: ReturnReason) -> Outcome:
    """Not attempted: the delivery goes back to its queue as it was."""
    words = reason.words
    return Outcome(Verdict.RETURNED, Reply(451, "4.3.2", words), Origin.LOCAL, reason=words, returned=reason)
