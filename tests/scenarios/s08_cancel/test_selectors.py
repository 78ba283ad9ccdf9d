"""Which mail a forced error ends: by pool, sending IP, domain, tag and their combinations, and which rule wins."""

from collections.abc import Callable
from typing import Any

import pytest

# Mail that waits: name -> (pool, domain before the case's own, tags)
MAIL = {
    "plain": ("default", "", ("red",)),
    "sub": ("default", "mx.", ("red",)),
    "deep": ("default", "a.b.", ("blue",)),
    "gold": ("gold", "", ("blue", "red")),
    "gold sub": ("gold", "mx.", ("blue",)),
    "bare": ("default", "", ()),
}

CASES = [
    ({"tag": "red"}, {"plain", "sub", "gold"}),
    ({"pool": "gold", "tag": "both"}, {"gold", "gold sub"}),
    ({"domain": "@", "tag": "both"}, {"plain", "gold", "bare"}),
    ({"domain": "*.@"}, {"sub", "deep", "gold sub"}),
    ({"domain": "@"}, {"plain", "gold", "bare"}),
    ({"pool": "gold", "domain": "*.@"}, {"gold sub"}),
    ({"domain": "*.@", "tag": "blue"}, {"deep", "gold sub"}),
    ({"pool": "default", "domain": "@", "tag": "red"}, {"plain"}),
]


def test_each_combination_of_selectors_ends_exactly_what_waits_and_matches(
    place: Any, deferring: Callable[[str], None]
):
    waiting = []
    for number in range(len(CASES)):
        here = f"s{number}.test"
        deferring(here)
        for name, (pool, below, tags) in MAIL.items():
            # Tags of a case are its own; "both" is on all of them, so that it can be combined without reaching others.
            own = tuple(f"{tag}-{number}" for tag in (*tags, "both"))
            (id_,) = place.node.send(f"{name.replace(' ', '')}@{below}{here}", own, X_MQ_Pool=pool)
            waiting.append((number, name, id_))
    for number in range(len(CASES)):
        place.logged(f"both-{number}", "TransientFailure", len(MAIL))
    for number, (selectors, names) in enumerate(CASES):
        here = f"s{number}.test"
        own = {
            key: value.replace("@", here) if key == "domain" else f"{value}-{number}" if key == "tag" else value
            for key, value in selectors.items()
        }
        rule = place.order(goal="swept", reason=f"case {number}", extended="5.7.1", description="gone", **own)
        account = place.complete(rule)
        assert account["matched"] == account["intercepted"]["queued"] == len(names), (selectors, account)
        lines = place.logged(f"both-{number}", "Intercepted", len(names))
        expected = {f"{id_}.1" for case, name, id_ in waiting if case == number and name in names}
        assert {line["id"] for line in lines} == expected, selectors
        for line in lines:
            assert (line["code"], line["enhanced"], line["text"], line["origin"]) == (554, "5.7.1", "gone", "forced")
            assert line["forced"] == {
                "rule": rule["id"],
                "generation": line["forced"]["generation"],
                "stage": "queued",
                "by": "admin",
            }
        place.rests(f"both-{number}", queued=len(MAIL) - len(names))
        place.lift(rule)
        assert not place.sink.to(here)


def test_a_sending_address_is_matched_at_the_attempt_when_it_is_known(place: Any):
    rule = place.order(mta="127.0.0.3", tag="paired", code=550)
    ids = place.node.send([f"u{n}@{n}.pair.test" for n in range(16)], ("paired",), X_MQ_Pool="pair")
    place.node.send("u@other.pair.test", ("single",), X_MQ_Pool="gold")
    place.rests("single", queued=0, delivered=1)
    statement = place.rests("paired", queued=0)
    taken = [r for r in place.sink.sink.taken if r.recipients[0].endswith("pair.test")]
    assert {r.peer for r in taken if "other" not in r.recipients[0]} == {"127.0.0.4"}
    assert {r.peer for r in taken if "other" in r.recipients[0]} == {"127.0.0.2"}
    lines = place.logged("paired", "Intercepted", statement["intercepted"]["attempt"])
    assert lines
    assert all(line["mta"] == "127.0.0.3" and line["forced"]["stage"] == "attempt" for line in lines)
    assert all(line["code"] == 550 and line["forced"]["rule"] == rule["id"] for line in lines)
    assert statement["delivered"] == len(taken) - 1 == len(ids) - len(lines)
    account = place.complete(rule)
    assert account["matched"] == account["intercepted"]["attempt"] == len(lines)
    assert "sweep" not in account
    place.lift(rule)


@pytest.mark.parametrize(
    ("order", "winner"),
    [
        ([{"code": 451, "tag": "#", "domain": "@"}, {"code": 552, "domain": "@"}], 552),  # ends before defers
        ([{"code": 551, "tag": "#"}, {"code": 552, "domain": "@", "pool": "default"}], 551),  # a tag before none
        ([{"code": 551, "tag": "#"}, {"code": 553, "tag": "#", "pool": "default"}], 553),  # more selectors
        ([{"code": 553, "tag": "#", "domain": "@"}, {"code": 551, "tag": "#", "domain": "*.test"}], 553),  # exact
        ([{"code": 550, "tag": "#"}, {"code": 551, "tag": "#2"}], 551),  # the newest of equals
    ],
)
def test_the_rule_that_wins_is_the_one_that_the_order_of_precedence_names(
    place: Any, request: pytest.FixtureRequest, order: list[dict[str, Any]], winner: int
):
    mark = f"prec{request.node.callspec.indices['order']}"
    rules = [
        place.order(
            **{
                key: value.replace("#", mark).replace("@", f"{mark}.test") if isinstance(value, str) else value
                for key, value in rule.items()
            }
        )
        for rule in order
    ]
    place.node.send(f"u@{mark}.test", (mark, mark + "2"))
    (line,) = place.logged(mark, "Intercepted", 1)
    assert line["code"] == winner
    assert line["forced"]["rule"] == next(rule["id"] for rule in rules if rule["code"] == winner)
    for rule in rules:
        place.lift(rule)
