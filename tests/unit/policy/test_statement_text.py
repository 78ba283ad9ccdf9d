"""Statements in sentences: the order and what became of its mail, then what is still open."""

from typing import Any

import msgspec
import pytest

from mta.model.statements import Intercepted, RuleDelivered, RuleStatement
from mta.policy.statement_text import selectors_text, sentences_of

PLAIN = RuleStatement(
    as_of="2026-11-30T20:04:00.000Z",
    rule="r1",
    generation=7,
    effective_at="2026-11-30T20:03:07.212Z",
    quiet_at="2026-11-30T20:03:07.300Z",
    matched=4700,
    intercepted=Intercepted(4690, 5, 2, 0),
    delivered=RuleDelivered(before=1300, after=3),
    deferred=0,
    queued=0,
    held=0,
    other=0,
    undone=0,
    uncertain=0,
    undoable=4697,
    undo_until="2026-11-30T20:13:07.000Z",
    sweep=msgspec.UNSET,
    complete=True,
    balanced=True,
    accepted=6000,
    code=554,
    tag="may-news",
    cluster=True,
    enabled=True,
    reason="wrong link",
    created_at="2026-11-30T20:03:07.100Z",
    created_by="admin",
)


def said(**changes: Any) -> list[str]:
    return sentences_of(msgspec.structs.replace(PLAIN, **changes))


def test_o8_a_canceled_campaign_in_five_sentences():
    assert said() == [
        "Campaign may-news, canceled 20:03:07 by admin (wrong link): "
        "6,000 accepted, 1,303 had it, 4,697 stopped, 0 undecided.",
        "The rule is effective on every node since 20:03:07; 3 whose final dot had been sent before were delivered.",
        "The account balances.",
        "Nothing is open.",
        "4,697 can be undone until 20:13:07.",
    ]


def test_o8_what_is_undecided_stands_in_the_account_and_as_open():
    first, _, third, fourth, _ = said(
        matched=4710,
        queued=10,
        uncertain=2,
        accepted=6012,
        complete=False,
        balanced=None,
        why_incomplete="the sweep of the queues is not over yet",
    )
    assert first.endswith("6,012 accepted, 1,303 had it, 4,697 stopped, 10 undecided, "
                          "2 others (ended otherwise, undone, or left alone).")  # fmt: skip
    assert third == "The account is not complete: the sweep of the queues is not over yet."
    assert fourth == "Still open: 10 queued, 2 uncertain (ended, but may have reached the recipient)."


def test_o8_an_undo_is_not_called_another_end():
    none = Intercepted(0, 0, 0, 0)
    lines = said(intercepted=none, undone=4697, undoable=0, undo_until=msgspec.UNSET, enabled=False)
    assert "0 stopped" in lines[0]
    assert lines[1] == "The rule is disabled and meets no more mail."
    assert lines[-1] == "4,697 were undone and returned to their queues."


def test_o8_mail_that_a_rule_met_again_is_explained():
    assert said(matched=6001)[2] == (
        "The account balances; it counts a delivery each time that the rule, ordered or enabled again, met it."
    )
    assert said(balanced=False)[2].startswith("The account does not balance")


@pytest.mark.parametrize(
    ("changes", "begin"),
    [
        ({"code": 250}, "Campaign may-news, discarded 20:03:07 by admin"),
        ({"code": 450}, "Campaign may-news, deferred with 450 since 20:03:07 by admin"),
        ({"code": msgspec.UNSET}, "Campaign may-news, held since 20:03:07 by admin"),
        ({"created_at": "2026-11-29T20:03:07.100Z"}, "Campaign may-news, canceled 2026-11-29 20:03:07 by admin"),
        ({"created_by": msgspec.UNSET, "reason": msgspec.UNSET}, "Campaign may-news, canceled 20:03:07: 6,000"),
        (
            {"accepted": msgspec.UNSET, "domain": "x.test", "tags_all": ("a", "b")},
            "Mail with domain=x.test tag=may-news tags_all=a, b, canceled 20:03:07 by admin (wrong link): 4,700 met,",
        ),
        ({"accepted": msgspec.UNSET, "tag": msgspec.UNSET}, "All mail, canceled"),
        ({"tag": "a\u202eb"}, "Campaign a\\u202eb, canceled"),
    ],
)
def test_o8_the_first_sentence_names_mail_order_author_and_reason(changes: dict[str, Any], begin: str):
    assert said(**changes)[0].startswith(begin)


def test_o8_a_pause_says_how_many_it_holds():
    lines = said(code=msgspec.UNSET, held=4697, intercepted=Intercepted(0, 0, 0, 0), undoable=0)
    assert "6,000 accepted, 1,303 had it, 4,697 held, 0 undecided." in lines[0]
    assert lines[1].startswith("The pause is effective on every node since")
    assert lines[3] == "Still open: 4,697 held."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"removed_at": "2026-11-30T20:03:30.000Z"}, "The rule was removed 20:03:30 and meets no more mail."),
        ({"expires_at": "2026-11-30T20:03:40.000Z"}, "The rule ended 20:03:40 and meets no more mail."),
        ({"effective_at": None}, "The rule is not effective everywhere yet."),
    ],
)
def test_o8_the_second_sentence_says_whether_the_rule_acts(changes: dict[str, Any], sentence: str):
    assert said(**changes)[1] == sentence


def test_selectors_in_words():
    assert selectors_text({"tag": "a", "tags_all": ["b", "c"], "id": "r"}, "everything") == "tag=a tags_all=b, c"
    assert selectors_text({}, "everything") == "everything"
