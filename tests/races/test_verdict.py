"""The verdicts themselves: a flawless seed passes, and each thing that may go wrong is told."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest

from mta.model.endings import Final
from tests.races import cancel_race, cancel_verdict, ledger
from tests.races.aftermath import Aftermath
from tests.races.destination import Transaction
from tests.races.ledger import Ended, Ledger, Living
from tests.races.plan import POOLS, STATES, Campaign, Fault, Kind, Mail, plan_of
from tests.races.source import Told
from tests.races.verdict import Evidence, failures

STOPPED = Mail(Campaign.STOP, Kind.PLAIN, "gold", ("a@x.test", "b@x.test"), (), 1)
LATE = Mail(Campaign.STOP, Kind.PLAIN, "gold", ("late@x.test",), (), 1)
KEPT = Mail(Campaign.KEEP, Kind.PLAIN, "iron", ("keep@x.test",), (), 1)
MAILS = {"S": STOPPED, "L": LATE, "K": KEPT}
TOLD = [Told(mail, id_, 10.0) for id_, mail in MAILS.items()]
EFFECTIVE = 1000.0
ENDED = {
    "S.1": Ended("delivered", "", False),
    "S.2": Ended("intercepted", "queued", False),
    "L.1": Ended("delivered", "", False),
    "K.1": Ended("delivered", "", False),
}
SEEN = [
    Transaction(500.0, ["a@x.test"], [], "S", 600.0, 650.0),
    Transaction(900.0, ["late@x.test"], [], "L", 1001.0, 1002.0),
    Transaction(2000.0, ["keep@x.test"], [], "K", 2001.0, 2002.0),
]
LINES = {"S.1": "Delivery", "S.2": "Intercepted", "L.1": "Delivery", "K.1": "Delivery"}
LOG = [{"type": kind, "id": id_} for id_, kind in LINES.items()]


def _statements(ledger: Ledger) -> dict[str, dict]:
    ids = {"stop": {"S.1", "S.2", "L.1"}, "keep": {"K.1"}}
    return {tag: {"tag": tag, "balanced": True} | ledger.account(ids[tag]) for tag in ids}


def _account(ledger: Ledger, after: int = 1) -> dict:
    counted = ledger.account({"S.1", "S.2", "L.1"})
    return counted | {
        "matched": counted["accepted"] - counted["delivered"] + after,
        "delivered": {"before": counted["delivered"] - after, "after": after},
        "complete": True,
        "balanced": True,
    }


def flawless() -> Evidence:
    before = {
        f"{state}{pool}{lane}": Living(state, lane, pool, ("stop",), False)
        for state in STATES
        for pool in POOLS
        for lane in range(3)
    }
    ledger = Ledger({}, dict(ENDED))
    rule = {"past_dot": [{"id": "L.1"}], "effective_at": "2026-01-01T00:00:01.000Z"}
    return Evidence(
        plan=plan_of(0, 0)._replace(fault=Fault.NONE, mails=tuple(MAILS.values())),
        told=TOLD,
        before=Ledger(before, {}),
        ordered_at=950.0,
        rule=rule,
        effective_at=EFFECTIVE,
        rule_later=rule,
        account=_account(ledger),
        after=Aftermath(SEEN, ledger, [], _statements(ledger), LOG),
    )


def _ends(evidence: Evidence, **ends: Ended | None) -> Evidence:
    """With other ends, statements and log lines that fit them."""
    found = {id_.replace("_", "."): end for id_, end in ends.items()}
    ended = {id_: end for id_, end in (evidence.after.ledger.ended | found).items() if end is not None}
    ledger = Ledger({}, ended)
    kinds = {"delivered": "Delivery", "intercepted": "Intercepted"}
    return evidence._replace(
        account=_account(ledger, int(ended.get("L.1") == ENDED["L.1"])),
        after=evidence.after._replace(
            ledger=ledger,
            tags=_statements(ledger),
            log=[{"type": kinds[end.how], "id": id_} for id_, end in ended.items()],
        ),
    )


def test_a_flawless_seed_passes():
    assert failures(flawless()) == []


E = TypeVar("E", Evidence, cancel_race.Evidence)


def _found(evidence: E, **other: Any) -> E:
    """With something else found when it was over."""
    return evidence._replace(after=evidence.after._replace(**other))


INTERCEPTED = Ended("intercepted", "attempt", False)
DOUBTFUL = Ended("intercepted", "attempt", True)

WRONG: dict[str, tuple[Callable[[Evidence], Evidence], str]] = {
    "a late dot": (
        lambda e: e._replace(rule=e.rule | {"past_dot": []}, rule_later=e.rule | {"past_dot": []}),
        "dots read up to 1.0 ms after effective_at, and not in past_dot: L.1",
    ),
    "a dot that nobody listed": (
        lambda e: _found(e, seen=[Transaction(500.0, ["a@x.test"], [], "S", 600.0, 1001.0), *SEEN[1:]]),
        "not answered at effective_at, and not in past_dot: S.1",
    ),
    "a dot that was never read": (lambda e: _found(e, seen=SEEN[::2]), "in past_dot, and no dot was read: L.1"),
    "an end that is not counted": (
        lambda e: e._replace(account=_account(e.after.ledger, 0)),
        "1 are in past_dot, 0 were",
    ),
    "a late MAIL": (
        lambda e: _found(e, seen=[*SEEN, Transaction(2001.0, ["b@x.test"])]),
        "a MAIL of the campaign 1001",
    ),
    "a late MAIL that was refused": (
        lambda e: _found(e, seen=[*SEEN, Transaction(2001.0, [], ["b@x.test"])]),
        "a MAIL of the campaign 1001",
    ),
    "a list that grew": (
        lambda e: e._replace(rule_later=e.rule | {"past_dot": [{"id": "L.1"}, {"id": "S.1"}]}),
        "past_dot or effective_at changed",
    ),
    "mail that was lost": (lambda e: _ends(e, S_2=None), "unknown to the store: S.2"),
    "mail that was refused": (lambda e: e._replace(told=TOLD[1:]), "never accepted: S.1, S.2"),
    "mail that stays": (
        lambda e: _found(e, ledger=Ledger({"S.2": Living("due", 0, "gold", ("stop",), False)}, ENDED)),
        "1 deliveries never ended",
    ),
    "the other campaign stopped": (lambda e: _found(e, seen=SEEN[:2]), "never arrived: K.1"),
    "a receipt too few": (lambda e: _found(e, seen=SEEN[1:]), "delivered, and no receipt: S.1"),
    "a receipt too many": (lambda e: _ends(e, S_1=INTERCEPTED), "neither delivered nor uncertain: S.1"),
    "doubt without a fault": (lambda e: _ends(e, S_2=DOUBTFUL), "uncertain without a fault: S.2"),
    "a second copy": (lambda e: _found(e, seen=[*SEEN, SEEN[0]]), "1 second copies without a fault"),
    "an escape": (lambda e: _found(e, log=[*LOG, {"type": "Escaped", "id": "S.1"}]), "escaped without a fault: S.1"),
    "a statement that is off": (
        lambda e: _found(e, tags=e.after.tags | {"stop": e.after.tags["stop"] | {"delivered": 1}}),
        "statement of stop",
    ),
    "a statement that does not balance": (
        lambda e: _found(e, tags=e.after.tags | {"keep": e.after.tags["keep"] | {"balanced": False}}),
        "statement of keep",
    ),
    "an account that is off": (lambda e: e._replace(account=e.account | {"matched": 9}), "account of the rule"),
    "a line that is missing": (lambda e: _found(e, log=LOG[1:]), "log and the store tell apart: S.1"),
    "a broken store": (lambda e: _found(e, broken=["a record without a place"]), "a record without a place"),
    "no campaign to stop": (lambda e: e._replace(before=Ledger({}, {})), "was not in every state"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_went_wrong_is_told(wrong: str):
    doctored, sentence = WRONG[wrong]
    found = failures(doctored(flawless()))
    assert any(sentence in told for told in found), found


def test_an_escape_excuses_a_late_dot_where_a_process_was_stopped():
    evidence, escaped = flawless(), [{"type": "Escaped", "id": "L.1"}]
    unlisted = evidence.rule | {"past_dot": []}
    evidence = _found(evidence._replace(rule=unlisted, rule_later=unlisted), log=LOG + escaped)
    assert any("not in past_dot" in told for told in failures(evidence))
    assert failures(evidence._replace(plan=evidence.plan._replace(fault=Fault.PAUSED))) == []


def test_a_doubt_covers_a_receipt_where_there_was_a_fault():
    evidence = flawless()
    killed = evidence._replace(plan=evidence.plan._replace(fault=Fault.KILLED))
    assert failures(_ends(killed, S_1=DOUBTFUL)) == []


def canceled() -> cancel_race.Evidence:
    """Message S with one recipient canceled and one sent, L sent before it was asked for, K never asked for."""
    ended = ENDED | {"S.2": Ended("canceled", "", False)}
    ledger = Ledger({}, ended)
    log = [line for line in LOG if line["id"] != "S.2"] + [{"type": "Cancellation", "id": "S.2"}]
    both = cancel_race.Answer(200, {"S.1": "DELIVERED", "S.2": "CANCELED"})
    return cancel_race.Evidence(
        told=TOLD,
        answers={
            "S": [cancel_race.Answer(202, {"S.1": "DELIVERED", "S.2": "ENQUEUED"}), both, both],
            "L": [cancel_race.Answer(409, {"L.1": "SENT"})],
        },
        after=Aftermath(SEEN, ledger, [], _statements(ledger), log),
    )


def _answers(evidence: cancel_race.Evidence, *more: tuple[int, dict[str, str]]) -> cancel_race.Evidence:
    """With more answers about message S."""
    said = [*evidence.answers["S"], *(cancel_race.Answer(*one) for one in more)]
    return evidence._replace(answers=evidence.answers | {"S": said})


WRONG_CANCELS: dict[str, tuple[Callable[[cancel_race.Evidence], cancel_race.Evidence], str]] = {
    "an answer that is none": (lambda e: _answers(e, (500, {})), "answers that are none: 500"),
    "no last answer": (
        lambda e: _answers(e, (202, {"S.1": "DELIVERED", "S.2": "ENQUEUED"})),
        "still 202 at the end: S",
    ),
    "another answer": (lambda e: _answers(e, (409, {"S.1": "SENT", "S.2": "SENT"})), "S was told differently"),
    "a record that does not fit": (lambda e: _answers(e, (200, {"S.1": "SENT", "S.2": "SENT"})), "S: 200 with"),
    "no race": (lambda e: e._replace(answers={}), "nothing was raced for"),
    "canceled and arrived": (
        lambda e: _found(e, seen=[*SEEN, Transaction(1.0, ["b@x.test"], [], "S", 2.0)]),
        "S.2: told that it is canceled, and it arrived 1 times",
    ),
    "sent and not arrived": (lambda e: _found(e, seen=[SEEN[0], SEEN[2]]), "L.1: told that it was sent"),
    "never asked for and not arrived": (lambda e: _found(e, seen=SEEN[:2]), "no receipt or the reverse: K.1"),
    "twice": (lambda e: _found(e, seen=[*SEEN, SEEN[2]]), "second copies without a fault: K.1"),
    "lost": (lambda e: _found(e, ledger=Ledger({}, {**e.after.ledger.ended, "X.1": ENDED["S.1"]})), "the reverse: X.1"),
    "canceled for nobody": (
        lambda e: _found(e, ledger=Ledger({}, e.after.ledger.ended | {"K.1": Ended("canceled", "", False)})),
        "not both: K.1",
    ),
    "doubt": (
        lambda e: _found(e, ledger=Ledger({}, e.after.ledger.ended | {"S.2": Ended("canceled", "", True)})),
        "uncertain without a fault: S.2",
    ),
    "a statement that is off": (
        lambda e: _found(e, tags=e.after.tags | {"keep": e.after.tags["keep"] | {"canceled": 1}}),
        "statement of keep",
    ),
    "a line that is missing": (lambda e: _found(e, log=e.after.log[:-1]), "Cancellation lines are not"),
}


def test_flawless_cancellations_pass():
    assert cancel_verdict.failures(canceled()) == []


@pytest.mark.parametrize("wrong", WRONG_CANCELS)
def test_what_went_wrong_with_cancellations_is_told(wrong: str):
    doctored, sentence = WRONG_CANCELS[wrong]
    found = cancel_verdict.failures(doctored(canceled()))
    assert any(sentence in told for told in found), found


def test_the_ledger_reads_from_the_status_whether_an_end_is_in_doubt() -> None:
    for letter, uncertain in ((b"b", True), (b"b", False), (b"e", True), (b"d", False)):
        final = msgspec.msgpack.encode(Final("a@example.org", 1, uncertain=uncertain))
        assert ledger._ended(letter + b"\0" + final).uncertain is uncertain
    assert ledger._ended(b"c:1\0").uncertain
    assert ledger._ended(b"i:queued:1:r\0").uncertain
    assert not ledger._ended(b"i:queued:0:r\0").uncertain
