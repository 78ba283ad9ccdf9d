from collections.abc import Callable

import pytest

from mta.cli.demo.account import Mail, Receipt, Seen, conditions, report
from mta.cli.demo.load import CAMPAIGN_TAG, DOMAINS, letters


def good() -> Seen:
    campaign = {f"c{n}@d": f"ID{n}" for n in range(40)}
    others = {f"n{n}@d": f"OD{n}" for n in range(8)}
    receipts = [Receipt(f"c{n}@d", 90.0, n % 4) for n in range(10)] + [
        Receipt(f"n{n}@d", 95.0, n % 4) for n in range(8)
    ]
    return Seen(
        campaign=campaign,
        others=others,
        campaign_sender="c",
        receipts=[*receipts, Receipt("c10@d", 100.2, 1)],
        mails=[Mail("c", 100.3, 1), Mail("n", 105.0, 1)],
        ordered_at=100.0,
        queued_at_order=29,
        order={"effective": True, "past_dot": [{"id": "ID10.1", "recipient": "c10@d"}]},
        effective_at=100.1,
        tag_statement={
            "accepted": 40,
            "delivered": 11,
            "intercepted": {"queued": 27, "attempt": 2, "before_dot": 0, "door": 0},
            "balanced": True,
        },
        rule_statement={"complete": True, "balanced": True, "intercepted": {"queued": 27, "attempt": 2}},
        node_status=0,
    )


def failed(seen: Seen) -> list[str]:
    return [what for what, held, _ in conditions(seen) if not held]


def test_a_demo_in_which_all_holds_is_ok() -> None:
    assert failed(good()) == []
    assert report(good())["ok"] is True
    assert report(good())["order_to_effective_ms"] == 100.0


def spoil(**fields: object) -> Callable[[Seen], None]:
    def change(seen: Seen) -> None:
        for name, value in fields.items():
            setattr(seen, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "condition"),
    [
        (spoil(queued_at_order=19), "half of the campaign was still queued"),
        (spoil(order={"effective": False}), "effective within 1 s"),
        (spoil(effective_at=101.5), "effective within 1 s"),
        (lambda seen: seen.mails.append(Mail("c", 100.36, 1)), "no campaign MAIL"),
        (lambda seen: seen.order.update(past_dot=[]), "is in past_dot"),
        (lambda seen: seen.others.update({"n99@d": "X"}), "all other mail arrived"),
        (lambda seen: seen.receipts.append(Receipt("n0@d", 96.0, 1)), "nothing arrived twice"),
        (lambda seen: seen.tag_statement.update(delivered=10), "delivered equals the receipts"),
        (lambda seen: seen.tag_statement.update(accepted=41), "all that was accepted"),
        (lambda seen: seen.tag_statement.update(balanced=None), "tag's statement balances"),
        (lambda seen: seen.rule_statement.update(complete=False), "rule's statement"),
        (spoil(node_status=-9), "the node drained"),
        (lambda seen: seen.receipts.__setitem__(slice(0, 8), []), "10 % of the campaign"),
        (lambda seen: seen.receipts.__setitem__(slice(10, 18), []), "4 connections were shared"),
    ],
)
def test_each_condition_can_fail(change: Callable[[Seen], None], condition: str) -> None:
    seen = good()
    change(seen)
    assert any(condition in what for what in failed(seen))


def test_the_letters_are_interleaved_over_five_domains() -> None:
    made = list(letters(2000))
    assert sum(letter.tag == CAMPAIGN_TAG for letter in made) == 2000
    assert len(made) == 2500
    first = made[:100]
    assert {letter.recipient.partition("@")[2] for letter in first if letter.tag != CAMPAIGN_TAG} == set(DOMAINS)
    assert len({letter.recipient for letter in made}) == 2500
