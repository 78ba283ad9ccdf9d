"""The rule table: what matches, what wins, and that neither depends on how the table came about."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.rules import Change, ChangeOp, ForcedError, Head, Selectors
from mta.policy.rule_table import NoSuccessor, RuleTable, matches, swept

TAGS = ["a", "b", "c"]
DOMAINS = ["example.com", "mail.example.com", "x.mail.example.com", "com", "other.org", "badexample.com"]
PATTERNS = [*DOMAINS, "*.example.com", "*.com", "*.mail.example.com"]
POOLS = ["p", "q"]
MTAS = ["192.0.2.1", "192.0.2.2"]
NODES = ["n1", "n2"]


def rule(name: str, code: int = 554, generation: int = 1, **selectors: object) -> ForcedError:
    return ForcedError(id=name, selectors=Selectors(**selectors), code=code, generation=generation)  # type: ignore[arg-type]


def table(*rules: ForcedError, node: str = "n1") -> RuleTable:
    return RuleTable.build(Head(len(rules), "x"), rules, node)


def winner(
    of: RuleTable, pool: str = "p", mta: str = "", domain: str = "example.com", tags: tuple[str, ...] = ("a",)
) -> str:
    found = of.match(pool, mta, domain, tags)
    return found.id if found else ""


@st.composite
def selectors(draw: st.DrawFn) -> Selectors:
    source = draw(st.sampled_from([{}, {}, *({"pool": p} for p in POOLS), *({"mta": m} for m in MTAS)]))
    node = draw(st.sampled_from([None, None, *NODES]))
    return Selectors(
        domain=draw(st.sampled_from([None, *PATTERNS])),
        tag=draw(st.sampled_from([None, *TAGS])),
        cluster=node is None,
        node=node,
        **source,
    )


def steps() -> st.SearchStrategy[list[tuple[ChangeOp, str, Selectors, int]]]:
    ids = st.sampled_from([f"r{number}" for number in range(12)])
    return st.lists(
        st.tuples(st.sampled_from(ChangeOp), ids, selectors(), st.sampled_from([250, 421, 450, 550, 554])), max_size=30
    )


deliveries = st.lists(
    st.tuples(
        st.sampled_from(POOLS),
        st.sampled_from(["", *MTAS]),
        st.sampled_from(DOMAINS),
        st.lists(st.sampled_from(TAGS), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=8,
)


def naive(
    rules: list[ForcedError], node: str, pool: str, mta: str, domain: str, tags: tuple[str, ...]
) -> ForcedError | None:
    """The words of the design, one by one, over a list."""
    found = []
    for candidate in rules:
        s = candidate.selectors
        if s.pool not in (None, pool) or s.mta not in (None, mta):
            continue
        if s.tag not in (None, *tags) or s.node not in (None, node):
            continue
        if s.domain is not None:
            labels, pattern = domain.split("."), s.domain.split(".")
            if pattern[0] == "*":
                if len(labels) < len(pattern) or labels[-len(pattern) + 1 :] != pattern[1:]:
                    continue
            elif labels != pattern:
                continue
        found.append(candidate)
    for preferred in (
        lambda r: r.code // 100 != 4,
        lambda r: r.selectors.tag is not None,
        *(
            lambda r, n=n: (
                sum(v is not None for v in (r.selectors.pool, r.selectors.mta, r.selectors.domain, r.selectors.tag))
                >= n
            )
            for n in (4, 3, 2, 1)
        ),
        lambda r: r.selectors.domain is not None and "*" not in r.selectors.domain,
    ):
        found = [r for r in found if preferred(r)] or found
    newest = max((r.generation for r in found), default=0)
    return max((r for r in found if r.generation == newest), key=lambda r: r.id, default=None)


@settings(max_examples=300, deadline=None)
@given(steps(), deliveries, st.sampled_from(NODES), st.integers(1, 5))
def test_table_agrees_with_a_naive_scan_however_it_was_made(changes_of, some, node, batch):
    changes, rules = [], {}
    for generation, (op, name, chosen, code) in enumerate(changes_of, 1):
        changed = ForcedError(id=name, selectors=chosen, code=code, generation=generation)
        changes.append(Change(Head(generation, f"c{generation}"), op, changed))
        rules.pop(name, None)
        if op is ChangeOp.PUT:
            rules[name] = changed
    applied, history = RuleTable.empty(node), []
    for at in range(0, len(changes), batch):
        history.append((applied, [applied.match(*delivery) for delivery in some]))
        applied = applied.apply(changes[at : at + batch])
    built = RuleTable.build(applied.head, rules.values(), node)
    assert len(applied) == len(built) == len(rules)
    for delivery in some:
        expected = naive(list(rules.values()), node, *delivery)
        assert built.match(*delivery) == expected
        assert applied.match(*delivery) == expected
        found = [r for r in rules.values() if matches(r, *delivery, node=node)]
        assert (expected is None) == (not found)
        assert expected is None or expected in found
    for earlier, answers in history:
        assert [earlier.match(*delivery) for delivery in some] == answers


@settings(max_examples=200, deadline=None)
@given(steps(), deliveries)
def test_a_shadowed_rule_never_decides(changes_of, some):
    rules = {
        name: ForcedError(id=name, selectors=chosen, code=code, generation=at)
        for at, (_, name, chosen, code) in enumerate(changes_of, 1)
    }
    made = table(*rules.values())
    for delivery in some:
        decided = made.match(*delivery)
        assert decided is None or made.shadowed_by(decided) is None


def test_a_general_ending_rule_shadows_a_narrower_deferral():
    narrow = rule("narrow", code=450, tag="a", domain="*.mail.example.com")
    made = table(narrow, rule("wide", domain="*.example.com"))
    assert made.shadowed_by(narrow) == "wide"
    assert made.shadowed_by(rule("wide", domain="*.example.com")) is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (rule("x", code=554), rule("y", code=450, tag="a", domain="example.com", pool="p")),
        (rule("x", code=250, domain="*.com"), rule("y", code=450, tag="a")),
        (rule("x", tag="a"), rule("y", domain="example.com", pool="p")),
        (rule("x", tag="a", pool="p"), rule("y", tag="a")),
        (rule("x", domain="example.com"), rule("y", domain="*.com", generation=9)),
        (rule("x", tag="a", generation=3), rule("y", tag="b", generation=2)),
    ],
)
def test_precedence(better, worse):
    tags = ("b", "a")
    assert winner(table(better, worse), tags=tags) == "x"
    assert winner(table(worse, better), tags=tags) == "x"
    assert winner(table(worse), tags=tags) == "y"


def test_wildcard_matches_subdomains_at_any_depth_and_not_the_domain_itself():
    made = table(rule("w", domain="*.example.com"))
    assert winner(made, domain="mail.example.com") == winner(made, domain="a.b.example.com") == "w"
    assert winner(made, domain="example.com") == winner(made, domain="badexample.com") == ""


def test_rule_for_a_sending_ip_waits_for_the_attempt():
    made = table(rule("m", mta="192.0.2.1"))
    assert winner(made, mta="") == winner(made, mta="192.0.2.2") == ""
    assert winner(made, mta="192.0.2.1") == "m"
    assert not swept(rule("m", mta="192.0.2.1"))


def test_rule_of_another_node_is_known_and_never_matches():
    bound = rule("here", cluster=False, node="n1")
    assert winner(table(bound, node="n1")) == "here"
    assert winner(table(bound, node="n2")) == winner(table(bound, node="")) == ""
    assert table(bound, node="n2").rule("here") == bound


def test_changes_with_a_gap_are_refused():
    made = table(rule("r"))
    with pytest.raises(NoSuccessor, match="generation 3 where 2 was due"):
        made.apply([Change(Head(3, "z"), ChangeOp.PUT, rule("s"))])


def test_repr_tells_an_operator_where_the_table_stands():
    assert repr(table(rule("r"))) == "<RuleTable generation 1 (x), 1 rules at n1>"
    assert repr(RuleTable.empty()) == "<RuleTable generation 0 (never changed), 0 rules>"
