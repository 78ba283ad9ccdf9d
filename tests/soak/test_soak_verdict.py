"""The verdict on a soak: a flawless one is clean, and each planted fault is found, once, under its name."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.races.destination import Transaction
from tests.races.ledger import Ended, Ledger, Living
from tests.soak.cluster import Strike
from tests.soak.load import Told
from tests.soak.log_marks import LogMarks, read_marks
from tests.soak.orders import Order
from tests.soak.plan import What
from tests.soak.verdict import Evidence, explanations, findings

EFFECTIVE = 5000.0
TAG = "campaign-0"


def told(name: str, tag: str, code: int = 250, past_dot: bool = True) -> Told:
    return Told((f"{name}@d0.soak.test",), tag, code, past_dot, name.upper() if code == 250 else "", 900.0)


def receipt(name: str, at: float, *, answered: bool = True, client: str = "n1.soak.test") -> Transaction:
    address = f"{name}@d0.soak.test"
    return Transaction(at - 10.0, [address], [], name.upper(), at, at + 1.0 if answered else 0.0, client)


def delivered(*names: str) -> dict[str, Ended]:
    return {f"{name.upper()}.1": Ended("delivered", "", False) for name in names}


def parts() -> dict[str, Any]:
    """A soak in which nothing went wrong: kept, two canceled in time, one past its dot, one refused, one unanswered."""
    ledger = Ledger(
        {},
        delivered("kept", "early", "past", "unanswered")
        | {"STOPPED.1": Ended("intercepted", "queued", False), "BOUNCED.1": Ended("bounced", "", False)},
    )
    return {
        "told": [
            *(told(name, "keep") for name in ("kept", "bounced")),
            *(told(name, TAG) for name in ("early", "past", "stopped")),
            told("refused", "keep", 451),
            told("broken", "keep", 0, past_dot=False),
            told("unanswered", "keep", 0),
            told("never", "keep", 0),
        ],
        "seen": [
            receipt("kept", 6000.0),
            receipt("early", 4000.0),
            receipt("past", 5001.0),
            receipt("unanswered", 3000.0),
            Transaction(100.0, [], ["bounced@d0.soak.test"]),
        ],
        "ledger": ledger,
        "orders": [Order(TAG, "r1", 4900.0, EFFECTIVE, frozenset({"PAST.1"}))],
        "statements": {
            "keep": statement("keep", ledger, "KEPT.1", "BOUNCED.1", "UNANSWERED.1"),
            TAG: statement(TAG, ledger, "EARLY.1", "PAST.1", "STOPPED.1"),
        },
        "strikes": [Strike(What.KILL_WORKER, "n1", 1, 7000.0, 7001.0)],
        "broken": [],
        "marks": LogMarks(frozenset(), frozenset(), {"unanswered@d0.soak.test": "UNANSWERED.1"}),
    }


def statement(tag: str, ledger: Ledger, *ids: str) -> dict[str, Any]:
    return {"tag": tag, "balanced": True, **ledger.account(ids)}


def found(**changed: Any) -> list[str]:
    return [finding.kind for finding in findings(Evidence(**(parts() | changed)))]


def test_a_flawless_soak_is_clean():
    assert found() == []


def _ledger(**changed: Ended | None) -> Ledger:
    ended = parts()["ledger"].ended | {f"{name}.1": end for name, end in changed.items()}
    return Ledger({}, {id_: end for id_, end in ended.items() if end is not None})


PLANTED: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {}


def planted(kind: str) -> Callable[[Callable[[dict[str, Any]], None]], Callable[[dict[str, Any]], None]]:
    def note(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        PLANTED[change.__name__.strip("_")] = kind, change
        return change

    return note


@planted("lost")
def _delivered_and_never_received(soak: dict[str, Any]) -> None:
    soak["seen"] = [one for one in soak["seen"] if one.message != "KEPT"]


@planted("lost")
def _gone_from_the_store_and_never_received(soak: dict[str, Any]) -> None:
    soak["told"].append(told("gone", "other"))


@planted("stuck")
def _claimed_for_ever(soak: dict[str, Any]) -> None:
    soak["told"].append(told("claimed", "other"))
    soak["ledger"].living["CLAIMED.1"] = Living("claimed", 0, "default", (), False)


@planted("phantom")
def _refused_and_received(soak: dict[str, Any]) -> None:
    soak["seen"].append(receipt("refused", 6000.0))


@planted("phantom")
def _never_sent_whole_and_received(soak: dict[str, Any]) -> None:
    soak["seen"].append(receipt("broken", 6000.0))


@planted("phantom")
def _refused_and_in_the_store(soak: dict[str, Any]) -> None:
    soak["ledger"].ended["REFUSED.1"] = Ended("intercepted", "queued", False)


@planted("phantom")
def _received_under_two_ids(soak: dict[str, Any]) -> None:
    soak["seen"].append(receipt("kept", 6500.0))
    soak["seen"][-1].message = "OTHER"


@planted("late")
def _received_after_the_order_and_not_listed(soak: dict[str, Any]) -> None:
    soak["orders"] = [soak["orders"][0]._replace(past_dot=frozenset())]


@planted("late")
def _an_order_without_an_effect(soak: dict[str, Any]) -> None:
    soak["orders"].append(Order("campaign-1", "r2", 9000.0, 0.0, frozenset()))


@planted("unbalanced")
def _a_statement_that_says_one_more(soak: dict[str, Any]) -> None:
    soak["statements"]["keep"]["delivered"] += 1


@planted("unbalanced")
def _a_statement_that_does_not_sum(soak: dict[str, Any]) -> None:
    soak["statements"]["keep"]["balanced"] = False


@planted("unbalanced")
def _received_and_intercepted_with_certainty(soak: dict[str, Any]) -> None:
    soak["seen"].append(receipt("stopped", 4000.0))


@planted("unbalanced")
def _a_broken_sentence_of_the_checker(soak: dict[str, Any]) -> None:
    soak["broken"].append("KEPT.1: has a record and is in no place")


@planted("unexplained")
def _a_second_copy_long_before_the_fault(soak: dict[str, Any]) -> None:
    soak["seen"].append(receipt("unanswered", 4000.0))


@planted("unexplained")
def _a_second_copy_from_a_node_without_a_fault(soak: dict[str, Any]) -> None:
    soak["seen"] = [one for one in soak["seen"] if one.message != "KEPT"]
    soak["seen"] += [receipt("kept", 6999.0, client="n2.soak.test"), receipt("kept", 9000.0)]


@planted("unexplained")
def _a_second_copy_of_what_was_sent_after_the_fault(soak: dict[str, Any]) -> None:
    soak["seen"] += [receipt("early", 3000.0)]
    soak["strikes"] = [Strike(What.KILL_WORKER, "n1", 2, 2000.0, 2001.0)]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_under_its_name(name: str):
    kind, plant = PLANTED[name]
    soak = parts()
    plant(soak)
    assert [finding.kind for finding in findings(Evidence(**soak))] == [kind]


def test_a_second_copy_is_explained_by_a_dot_without_an_answer():
    seen = [*parts()["seen"], receipt("unanswered", 2000.0, answered=False)]
    assert found(seen=seen) == []


def test_a_second_copy_is_explained_by_the_death_of_a_worker_between_reply_and_settle():
    seen = [receipt("kept", 6999.0), *parts()["seen"][1:], receipt("kept", 9000.0)]
    evidence = Evidence(**(parts() | {"seen": seen}))
    assert findings(evidence) == []
    assert explanations(evidence) == {"kill -9 worker": 1}


def test_a_second_copy_is_explained_by_a_late_outcome():
    seen = [*parts()["seen"], receipt("early", 3000.0)]
    marks = parts()["marks"]._replace(late=frozenset({"EARLY.1"}))
    assert found(seen=seen, marks=marks) == []


def test_a_second_copy_of_an_uncertain_delivery_balances():
    ledger = _ledger(STOPPED=Ended("intercepted", "queued", True))
    seen = [*parts()["seen"], receipt("stopped", 4000.0, answered=False)]
    statements = parts()["statements"] | {TAG: statement(TAG, ledger, "EARLY.1", "PAST.1", "STOPPED.1")}
    assert found(ledger=ledger, seen=seen, statements=statements) == []


def test_an_escaped_dot_is_not_late():
    orders = [parts()["orders"][0]._replace(past_dot=frozenset())]
    marks = parts()["marks"]._replace(escaped=frozenset({"PAST.1"}))
    assert found(orders=orders, marks=marks) == []


def test_marks_are_read_from_whole_lines_of_logs_that_are_there(tmp_path):
    log = tmp_path / "delivery.jsonl"
    log.write_text(
        '{"v":1,"type":"Reception","id":"A.1","recipient":"a@x.test"}\n'
        '{"v":1,"type":"Reception","id":"B.1","recipient":"b@x.test"}\n'
        '{"v":1,"type":"LateOutcome","id":"C.1","recipient":"c@x.test"}\n'
        '{"v":1,"type":"Escaped","id":"D.1"}\n'
        '{"v":1,"type":"Esc'
    )
    marks = read_marks([log, tmp_path / "absent"], {"b@x.test"})
    assert marks == LogMarks(frozenset({"C.1"}), frozenset({"D.1"}), {"b@x.test": "B.1"})
