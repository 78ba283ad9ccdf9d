"""The rule table: what matches, what wins, and that neither depends on how the table came about."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.mail import Addressed, pass_mark, tenant_mark
from mta.model.rules import Change, ChangeOp, Head, Kind, Rule, Selectors
from mta.policy.rule_effect import in_force, swept
from mta.policy.rule_table import NoSuccessor, RuleTable, rank

TAGS = ["a", "b", "c"]
DOMAINS = ["example.com", "mail.example.com", "x.mail.example.com", "com", "other.org", "badexample.com"]
PATTERNS = [*DOMAINS, "*.example.com", "*.com", "*.mail.example.com"]
TENANTS = ["a", "t"]
POOLS = ["p", "q"]
MTAS = ["192.0.2.1", "192.0.2.2"]
NODES = ["n1", "n2"]
IPS = ["192.0.2.9", "2001:db8::9"]
HOSTS = ["a.mx.net", "mx.net", "b.a.mx.net"]
SENDERS = ["a@x.test", "b@x.test", "a@y.test", ""]
RECIPIENTS = ["u@example.com", "v@example.com"]
LISTS = [("*.com", "other.org"), ("com", "example.com"), ("*.example.com", "*.mail.example.com", "example.com")]
SCHEDULES = ["Th 00:00-01:00", "Th 01:00-02:00", "Fr 00:00-24:00"]  # Unix time begins on a Thursday
SITES = {"example.com": "big", "mail.example.com": "big", "other.org": "own"}.get
MX_PATTERNS = [*HOSTS, "*.mx.net", "*.net"]


def rule(name: str, code: int = 554, generation: int = 1, **selectors: object) -> Rule:
    return Rule(id=name, selectors=Selectors(**selectors), code=code, generation=generation)  # type: ignore[arg-type]


def pause(name: str, generation: int = 1, **selectors: object) -> Rule:
    return msgspec.structs.replace(rule(name, 0, generation, **selectors), kind=Kind.PAUSE)


def table(*rules: Rule, node: str = "n1") -> RuleTable:
    return RuleTable.build(Head(len(rules), "x"), rules, node)


def winner(
    of: RuleTable, pool: str = "p", mta: str = "", domain: str = "example.com", tags: tuple[str, ...] = ("a",)
) -> str:
    found = of.match(pool, mta, domain, tags)
    return found.id if found else ""


@st.composite
def selectors(draw: st.DrawFn) -> Selectors:
    source = draw(st.sampled_from([{}, {}, *({"pool": p} for p in POOLS), *({"mta": m} for m in MTAS)]))
    target = draw(
        st.sampled_from(
            [
                {},
                {},
                *({"domain": d} for d in PATTERNS),
                *({"domains": some} for some in LISTS),
                *({"ip": i} for i in IPS),
                *({"mx": m} for m in MX_PATTERNS),
            ]
        )
    )
    node = draw(st.sampled_from([None, None, *NODES]))
    times = draw(st.sampled_from([{}, {}, {}, *({"schedule": text, "timezone": "UTC"} for text in SCHEDULES)]))
    several = st.none() | st.none() | st.frozensets(st.sampled_from(TAGS), max_size=2).map(lambda f: tuple(sorted(f)))
    return Selectors(
        tag=draw(st.sampled_from([None, *TAGS])),
        tags_all=draw(several),
        except_tags=draw(several),
        cluster=node is None,
        node=node,
        tenant=draw(st.sampled_from([None, None, *TENANTS])),
        sender=draw(st.sampled_from([None] * 4 + [*SENDERS, "*@x.test"])),
        recipient=draw(st.sampled_from([None] * 4 + RECIPIENTS)),
        accepted_before=draw(st.sampled_from([None] * 4 + [1, 2])),
        accepted_after=draw(st.sampled_from([None] * 4 + [1, 2])),
        site=draw(st.sampled_from([None] * 4 + ["big", "own"])),
        **times,
        **source,
        **target,
    )


@st.composite
def a_rule(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from([Kind.ERROR, Kind.ERROR, Kind.PAUSE]))
    return Rule(
        id=draw(st.sampled_from([f"r{number}" for number in range(12)])),
        selectors=draw(selectors()),
        kind=kind,
        code=draw(st.sampled_from([250, 421, 450, 550, 554])) if kind is Kind.ERROR else 0,
        enabled=draw(st.sampled_from([True, True, True, False])),
        expires_at=draw(st.sampled_from([0, 0, 10, 20])),
    )


def steps() -> st.SearchStrategy[list[tuple[ChangeOp, Rule]]]:
    op = st.sampled_from([ChangeOp.PUT, ChangeOp.PUT, ChangeOp.REMOVE])
    return st.lists(st.tuples(op, a_rule()), max_size=40)


labels = st.tuples(
    st.lists(st.sampled_from(TAGS), max_size=3).map(tuple), st.sampled_from([(), *((tenant_mark(t),) for t in TENANTS)])
).map(lambda given: given[0] + given[1])

messages = st.builds(Addressed, st.sampled_from(SENDERS), st.sampled_from(RECIPIENTS), st.integers(0, 3))

# pool, mta, domain, labels, ip, mx, message: where the peer is known, so is the sending IP
deliveries = st.lists(
    st.tuples(
        st.sampled_from(POOLS),
        st.sampled_from(DOMAINS),
        labels,
        st.sampled_from(["", *MTAS]),
        st.sampled_from(IPS),
        st.sampled_from(HOSTS),
        messages,
    ).map(lambda d: (d[0], d[3], d[1], d[2], d[4] if d[3] else "", d[5] if d[3] else "", d[6])),
    min_size=1,
    max_size=8,
)

Delivery = tuple[str, str, str, tuple[str, ...], str, str, Addressed]


def names(pattern: str, name: str) -> bool:
    """Label by label."""
    labels, wanted = name.split("."), pattern.split(".")
    if wanted[0] == "*":
        return len(labels) >= len(wanted) and labels[-len(wanted) + 1 :] == wanted[1:]
    return labels == wanted


def applies(rule: Rule, node: str, now: int, protected: frozenset[str], delivery: Delivery) -> bool:
    """The words of the design, one by one."""
    pool, mta, domain, labels, ip, mx, message = delivery
    tags = [label for label in labels if label[0] != "\0"]
    tenants = [label[1:] for label in labels if label[0] == "\0"]
    s = rule.selectors
    if not rule.enabled or (rule.expires_at and rule.expires_at <= now):
        return False
    if protected & set(tags) and s.tag not in protected:
        return False
    if s.pool not in (None, pool) or s.mta not in (None, mta) or s.node not in (None, node):
        return False
    if s.tag not in (None, *tags) or set(s.tags_all or ()) - set(tags) or set(s.except_tags or ()) & set(tags):
        return False
    if s.tenant not in (None, *tenants):
        return False
    if s.domain is not None and not names(s.domain, domain):
        return False
    if s.domains is not None and not any(names(name, domain) for name in s.domains):
        return False
    if s.site not in (None, SITES(domain)):
        return False
    if s.sender not in (None, message.sender, "*@" + message.sender.rpartition("@")[2]):
        return False
    if s.recipient not in (None, message.recipient):
        return False
    if s.accepted_before is not None and not message.accepted_at < s.accepted_before:
        return False
    if s.accepted_after is not None and not message.accepted_at >= s.accepted_after:
        return False
    if s.schedule is not None and SCHEDULES.index(s.schedule) != now // 3_600_000:
        return False
    return s.ip in (None, ip) and (s.mx is None or (mx != "" and names(s.mx, mx)))


def naive(found: list[Rule]) -> Rule | None:
    """The one that wins, by leaving out step by step what is not preferred."""

    def given(r: Rule) -> int:
        s = r.selectors
        labels = (s.tag, s.tags_all, s.except_tags, s.tenant)
        message = (s.sender, s.recipient, s.accepted_before, s.accepted_after)
        return sum(v is not None for v in (s.pool, s.mta, s.domain, s.domains, s.site, s.ip, s.mx, *labels, *message))

    def exact(r: Rule) -> bool:
        s = r.selectors
        given = [v for v in (s.domain, *(s.domains or ()), s.mx, s.ip, s.sender, s.recipient) if v is not None]
        return given != [] and not any("*" in v for v in given)

    for preferred in (
        lambda r: r.code // 100 in (2, 5),
        lambda r: r.kind is Kind.PAUSE,
        lambda r: r.selectors.tag is not None or r.selectors.tags_all is not None,
        *(lambda r, n=n: given(r) >= n for n in range(11, 0, -1)),
        exact,
    ):
        found = [r for r in found if preferred(r)] or found
    newest = max((r.generation for r in found), default=0)
    return max((r for r in found if r.generation == newest), key=lambda r: r.id, default=None)


def test_a_rule_of_several_domains_stands_at_each_of_them() -> None:
    several = table(rule("r", domains=("*.com", "other.org")))
    assert [winner(several, domain=name) for name in ("mail.example.com", "other.org", "other.net")] == ["r", "r", ""]


@settings(max_examples=400, deadline=None)
@given(steps(), deliveries, st.sampled_from(NODES), st.integers(1, 5), st.frozensets(st.sampled_from(TAGS), max_size=1))
def test_table_agrees_with_a_naive_scan_however_it_was_made(changes_of, some, node, batch, protected):
    now = 0
    changes, rules = [], {}
    for generation, (op, changed) in enumerate(changes_of, 1):
        changed = msgspec.structs.replace(changed, generation=generation)
        changes.append(Change(Head(generation, f"c{generation}"), op, changed))
        rules.pop(changed.id, None)
        if op is ChangeOp.PUT:
            rules[changed.id] = changed
    applied, history = RuleTable.empty(node, protected, lambda: now, SITES), []
    empty = applied
    for at in range(0, len(changes), batch):
        history.append((applied, [applied.match(*delivery) for delivery in some]))
        applied = applied.apply(changes[at : at + batch])
    built = empty.rebuilt(applied.head, rules.values())
    assert len(applied) == len(built) == len(rules)
    for now in (0, 9, 10, 25, 3_600_000):
        for delivery in some:
            found = [r for r in rules.values() if applies(r, node, now, protected, delivery)]
            expected = naive(found)
            assert built.match(*delivery) == expected
            assert applied.match(*delivery) == expected
            assert [r for r in rules.values() if built.matches(r, *delivery)] == found
    now = 0
    for earlier, answers in history:
        assert [earlier.match(*delivery) for delivery in some] == answers
    gone = [Change(Head(n, "x"), ChangeOp.REMOVE, r) for n, r in enumerate(rules.values(), applied.head.generation + 1)]
    left = applied.apply(gone)
    assert [bool(left._plain), bool(left._by_message), left.asks_message, left.asks_site] == [False] * 4
    assert left._plain.timed == left._by_message.timed == 0


@settings(max_examples=300, deadline=None)
@given(steps(), deliveries, st.frozensets(st.sampled_from(TAGS), max_size=1))
def test_a_shadowed_rule_never_decides(changes_of, some, protected):
    now = 0
    rules = {r.id: msgspec.structs.replace(r, generation=at) for at, (_, r) in enumerate(changes_of, 1)}
    made = RuleTable.empty("n1", protected, lambda: now, SITES).rebuilt(Head(1, "x"), rules.values())
    for now in (0, 15, 25, 3_600_000):  # noqa: B007 - the clock of the table
        for delivery in some:
            decided = made.match(*delivery)
            assert decided is None or made.shadowed_by(decided) is None
            for hidden in rules.values():
                shadow = made.shadowed_by(hidden)
                if shadow is not None and made.matches(hidden, *delivery):
                    assert made.matches(rules[shadow], *delivery)
                    assert rank(rules[shadow]) > rank(hidden)


@pytest.mark.parametrize(
    ("wide", "narrow", "shadowed"),
    [
        ({"tag": "a"}, {"tags_all": ("a", "b")}, True),
        ({"tags_all": ("a", "b")}, {"tags_all": ("a", "b", "c"), "pool": "p"}, True),
        ({"tags_all": ("a", "b")}, {"tag": "a", "tags_all": ("b",), "pool": "p"}, True),
        ({"tags_all": ("a", "b")}, {"tag": "a", "pool": "p"}, False),
        ({"except_tags": ("a",)}, {"except_tags": ("a", "b"), "pool": "p"}, True),
        ({"except_tags": ("a", "b")}, {"except_tags": ("a",), "pool": "p"}, False),
        ({"mx": "*.mx.net"}, {"mx": "a.mx.net", "pool": "p"}, True),
        ({"ip": "192.0.2.9"}, {"ip": "192.0.2.9", "tag": "a"}, True),
        ({"ip": "192.0.2.9"}, {"mx": "a.mx.net", "tag": "a"}, False),
        ({"tenant": "t"}, {"tenant": "t", "tag": "a"}, True),
        ({"tenant": "t"}, {"tag": "a"}, False),
        ({"tenant": "t"}, {"tenant": "other", "tag": "a"}, False),
        ({"tag": "a"}, {"tenant": "t", "tags_all": ("a", "b")}, True),
        ({"tenant": "t", "tags_all": ("a",)}, {"tenant": "t", "tags_all": ("a", "b"), "pool": "p"}, True),
        ({"tenant": "a"}, {"tag": "a", "pool": "p"}, False),
        ({"site": "big"}, {"site": "big", "tag": "a"}, True),
        ({"site": "big"}, {"domain": "example.com", "tag": "a"}, False),
    ],
)
def test_what_shadows_what(wide, narrow, shadowed):
    deferral = rule("narrow", code=450, **narrow)
    made = table(deferral, rule("wide", **wide))
    assert made.shadowed_by(deferral) == ("wide" if shadowed else None)


def test_a_pause_hides_what_defers_and_is_hidden_by_what_ends():
    held, deferral, end = pause("held", tag="a"), rule("deferral", code=450, tag="a", pool="p"), rule("end", pool="p")
    made = table(held, deferral)
    assert made.shadowed_by(deferral) == "held"
    assert made.shadowed_by(held) is None
    narrow = pause("narrow", tag="a", pool="p")
    made = table(narrow, deferral, end)
    assert made.shadowed_by(narrow) == made.shadowed_by(deferral) == "end"
    assert table(pause("wide", tag="a"), rule("weak", code=450)).shadowed_by(pause("wide", tag="a")) is None


def test_among_protected_tags_any_rule_that_names_one_hides_another():
    narrow = rule("narrow", code=450, tag="vip", tags_all=("gold",))
    made = RuleTable.empty("n1", ["vip", "gold"]).rebuilt(Head(1, "x"), [narrow, rule("wide", tag="gold"), rule("all")])
    assert made.shadowed_by(narrow) == "wide"
    assert winner(made, tags=("vip", "gold")) == "wide"


def test_a_rule_with_an_end_hides_nothing_that_lasts_longer():
    lasting, brief = rule("lasting", code=450, tag="a"), rule("brief", code=450, tag="a")
    wide = msgspec.structs.replace(rule("wide", tag="a"), expires_at=50)
    brief = msgspec.structs.replace(brief, expires_at=40)
    made = table(wide, lasting, brief)
    assert made.shadowed_by(lasting) is None
    assert made.shadowed_by(brief) == "wide"


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
        (rule("x", tags_all=("a",)), rule("y", domain="example.com", pool="p", generation=9)),
        (rule("x", tag="a", except_tags=("c",)), rule("y", tag="a", generation=9)),
        (rule("x", tag="a", tags_all=("a", "b")), rule("y", tags_all=("a", "b"), generation=9)),
        (rule("x"), pause("y", tag="a", domain="example.com", pool="p", tenant="t")),
        (pause("x"), rule("y", code=450, tag="a", domain="example.com", pool="p")),
        (rule("x", tenant="t", domain="*.com"), rule("y", domain="example.com", generation=9)),
        (rule("x", tag="b"), rule("y", tenant="t", pool="p", domain="example.com", generation=9)),
        (rule("x", tag="b", tenant="t"), rule("y", tag="a", generation=9)),
    ],
)
def test_precedence(better, worse):
    tags = ("b", "a", tenant_mark("t"))
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


@pytest.mark.parametrize(
    "chosen", [{"ip": "192.0.2.9"}, {"mx": "a.mx.net"}, {"mx": "*.mx.net"}, {"mx": "*.net", "tag": "a", "pool": "p"}]
)
def test_rule_for_a_peer_waits_for_the_attempt(chosen):
    made = table(rule("r", **chosen))
    assert winner(made) == ""
    assert made.match("p", "192.0.2.1", "example.com", ("a",), "192.0.2.9", "a.mx.net").id == "r"
    assert made.match("p", "192.0.2.1", "example.com", ("a",), "192.0.2.8", "mx.org") is None
    assert not swept(rule("r", **chosen))


def test_no_tags_asked_for_is_not_the_same_as_tags_not_asked_for():
    absent, empty = rule("absent"), rule("empty", tags_all=(), except_tags=())
    assert absent.selectors != empty.selectors
    assert winner(table(absent, empty), tags=()) == "empty", "it says more, and matches as much"


def test_an_expired_rule_gives_way_to_the_one_that_it_beat():
    clock = [0]
    first = msgspec.structs.replace(rule("first", tag="a", pool="p"), expires_at=100)
    made = RuleTable.build(Head(2, "x"), [first, rule("second", code=450, tag="a")], "n1", lambda: clock[0])
    assert winner(made) == "first"
    clock[0] = 99
    assert winner(made) == "first"
    clock[0] = 100
    assert winner(made) == "second"
    assert not in_force(first, 100)


def test_a_rule_that_is_spared_does_not_bring_in_a_weaker_one_beside_it():
    strong = rule("strong", tag="a", pool="p")
    spared = rule("spared", tag="b", except_tags=("c",), generation=9)
    made = table(strong, spared, rule("weak", tag="b"))
    assert winner(made, tags=("a", "b")) == "spared"
    assert winner(made, tags=("a", "b", "c")) == winner(made, tags=("c", "b", "a")) == "strong"


def test_the_clock_is_asked_only_about_rules_that_end():
    def clock() -> int:
        raise AssertionError("asked")

    ending = msgspec.structs.replace(rule("ending", tag="b"), expires_at=5)
    made = RuleTable.build(Head(2, "x"), [rule("r", tag="a"), ending], "n1", clock)
    assert winner(made, tags=("a", "c")) == "r"
    with pytest.raises(AssertionError, match="asked"):
        winner(made, tags=("b",))


def test_protected_mail_is_matched_by_a_rule_that_names_it_and_by_no_other():
    rules = [rule("all", code=450), rule("both", tags_all=("vip", "a")), rule("a", tag="a"), rule("v", tag="vip")]
    made = RuleTable.empty("n1", ["vip"]).rebuilt(Head(1, "x"), rules)
    assert winner(made, tags=("a",)) == "a"
    assert winner(made, tags=("a", "vip")) == winner(made, tags=("vip",)) == "v"
    assert not made.matches(rules[1], "p", "", "example.com", ("vip", "a"))
    without = RuleTable.empty("n1", ["vip"]).rebuilt(Head(1, "x"), rules[:3])
    assert winner(without, tags=("a", "vip")) == ""


def test_a_tag_that_many_rules_share_does_not_hold_them_all():
    many = [rule(f"r{n}", tags_all=("campaign", f"t{n}")) for n in range(100)]
    made = table(*many)
    assert max(bucket.size for bucket in made._plain.by_joint_label.values()) <= 2
    assert winner(made, tags=("campaign", "t7")) == "r7"


def test_a_tag_that_many_rules_for_recipients_share_does_not_hold_them_all():
    made = table(*(rule(f"r{n}", tag="campaign", recipient=f"u{n}@example.com") for n in range(100)))
    index = made._by_message
    assert {bucket.size for bucket in (*index.by_tag.values(), *index.by_joint_label.values())} == {1}
    seventh = Addressed("", "U7@Example.COM", 0)
    assert made.match("p", "", "example.com", ("campaign",), "", "", seventh).id == "r7"
    assert made.match("p", "", "example.com", ("other",), "", "", seventh) is None


@pytest.mark.parametrize(("hour", "found"), [(0, True), (1, False), (24, False)])
def test_a_pause_with_a_schedule_matches_at_its_times_only(hour, found):
    known = RuleTable.empty("n1", clock=lambda: hour * 3_600_000)
    known = known.rebuilt(Head(1, "x"), [pause("p", tag="red", schedule=SCHEDULES[0], timezone="UTC")])
    assert (known.match("default", "", "b.test", ("red",)) is not None) is found


@pytest.mark.parametrize(("accepted_at", "found"), [(4, False), (5, True), (8, True), (9, False)])
def test_the_time_of_acceptance_is_from_one_instant_until_before_another(accepted_at, found):
    known = RuleTable.build(Head(1, "x"), [rule("r", tag="red", accepted_after=5, accepted_before=9)])
    message = Addressed("s@a.test", "r@b.test", accepted_at)
    assert (known.match("default", "", "b.test", ("red",), "", "", message) is not None) is found


def test_protected_mail_to_a_recipient_is_matched_by_a_rule_that_names_the_tag():
    rules = [rule("all", recipient="u@example.com"), rule("vip", tag="vip", recipient="u@example.com")]
    made = RuleTable.empty("n1", ["vip"]).rebuilt(Head(1, "x"), rules)
    mail = Addressed("", "u@example.com", 0)
    assert made.match("p", "", "example.com", ("vip",), "", "", mail).id == "vip"
    assert made.rebuilt(Head(1, "x"), rules[:1]).match("p", "", "example.com", ("vip",), "", "", mail) is None


def test_rules_that_ask_for_the_message_leave_other_answers_remembered():
    made = table(rule("r", tag="a"), rule("late", tag="a", accepted_after=5), rule("m", sender="x@y.test", code=450))
    assert made.asks_message
    asked = ("p", "", "example.com", ("a",), "", "")
    for _ in range(2):
        assert made.match(*asked, Addressed("x@y.test", "", 4)).id == "r"
        assert made.match(*asked, Addressed("x@y.test", "", 5)).id == "late"
        assert made.match(*asked).id == "r", "nothing is known of the message"
    assert list(made._cache.values()) == [made.rule("r")]
    assert not table(rule("r", tag="a")).asks_message


def test_a_rule_for_a_tenant_takes_its_mail_whatever_else_a_tag_is_called():
    made = table(rule("all of t", tenant="t"), rule("a of t", tenant="t", tag="a", code=450), rule("a", tag="a"))
    assert winner(made, tags=("a", tenant_mark("t"))) == "a"
    assert winner(made, tags=("b", tenant_mark("t"))) == "all of t"
    assert winner(made, tags=("t",)) == winner(made, tags=("b", tenant_mark("a"))) == winner(made, tags=()) == ""
    spared = table(rule("r", tenant="t", except_tags=("transactional",)))
    assert winner(spared, tags=("a", tenant_mark("t"))) == "r"
    assert winner(spared, tags=("transactional", tenant_mark("t"))) == ""


def test_a_tenant_with_many_rules_does_not_hold_them_all():
    many = [rule(f"r{n}", tags_all=(f"t{n}",), tenant="t") for n in range(100)]
    made = table(*many)
    assert max(bucket.size for bucket in made._plain.by_joint_label.values()) <= 2
    assert winner(made, tags=("t7", tenant_mark("t"))) == "r7"
    assert winner(made, tags=("t7",)) == ""


def test_protected_mail_of_a_tenant_is_matched_by_a_rule_that_names_the_tag_and_no_other():
    rules = [rule("tenant", tenant="t"), rule("both", tenant="t", tag="vip", code=450)]
    made = RuleTable.empty("n1", ["vip"]).rebuilt(Head(1, "x"), rules)
    assert winner(made, tags=("a", tenant_mark("t"))) == "tenant"
    assert winner(made, tags=("vip", tenant_mark("t"))) == "both"
    assert winner(made, tags=("vip",)) == ""


def test_a_suspension_holds_protected_mail_too_and_goes_with_its_terms():
    empty = RuleTable.empty("n1", ["vip"])
    terms = msgspec.structs.replace(rule("terms", tenant="t", code=0), kind=Kind.TENANT)
    errors = [rule("spares", tenant="t"), rule("named", tag="vip", pool="q")]
    made = empty.rebuilt(Head(1, "x"), [terms, *errors])
    vip = ("vip", "a", tenant_mark("t"))
    assert winner(made, tags=vip) == "terms"
    assert winner(made, tags=vip, pool="q") == "named", "a forced error that names the tag wins over a suspension"
    assert winner(made, tags=("vip", tenant_mark("other"))) == winner(made, tags=("vip",)) == ""
    assert made.matches(terms, "p", "", "x.test", vip)
    assert not made.matches(errors[0], "p", "", "x.test", vip)
    active = msgspec.structs.replace(terms, enabled=False, generation=2)
    assert winner(made.apply([Change(Head(2, "y"), ChangeOp.PUT, active)]), tags=vip) == ""
    again = made.apply([Change(Head(2, "y"), ChangeOp.REMOVE, errors[0])])
    assert winner(again, tags=vip) == "terms"
    assert winner(again.apply([Change(Head(3, "z"), ChangeOp.REMOVE, terms)]), tags=vip) == ""


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


def test_fresh_rules_are_those_that_differ_however_the_table_came_about():
    kept, old = Rule("kept", Selectors(tag="k"), 554, generation=9), Rule("old", Selectors(tag="o"), 554, generation=8)
    before = RuleTable.build(Head(9, "a"), [kept, old])
    edited = msgspec.structs.replace(old, code=421, generation=10)
    made, gone = Rule("made", Selectors(tag="m"), 554, generation=11), Rule("gone", Selectors(tag="g"), generation=12)
    steps = [
        Change(Head(10, "b"), ChangeOp.PUT, edited),
        Change(Head(11, "c"), ChangeOp.PUT, made),
        Change(Head(12, "d"), ChangeOp.PUT, gone),
        Change(Head(13, "e"), ChangeOp.REMOVE, gone),
    ]
    after = before.apply(steps)
    assert set(after.fresh_since(before)) == {edited, made}
    loaded = before.rebuilt(Head(13, "e"), [msgspec.structs.replace(kept), edited, made])
    assert set(loaded.fresh_since(before)) == {edited, made}
    low = Rule("low", Selectors(tag="l"), 554, generation=3)  # ordered after a failover, under a number used before
    assert before.rebuilt(Head(4, "f"), [kept, old, low]).fresh_since(before) == [low]
    assert set(after.fresh_since(RuleTable.empty())) == {kept, edited, made}
    assert before.apply([]).fresh_since(before) == []


def test_answers_are_remembered_within_bounds_and_only_while_time_decides_nothing():
    now = 0
    lasting = Rule("r", Selectors(tag="a"), 554)
    asked = [("p", "", f"d{number}.test", ("a",)) for number in range(5000)]
    made = RuleTable.empty("n1", (), lambda: now).rebuilt(Head(1, "x"), [lasting])
    for _ in range(2):
        assert {made.match(*one) for one in asked} == {lasting}
    assert 0 < len(made._cache) <= 4096
    ending = msgspec.structs.replace(lasting, id="e", generation=1, expires_at=10)
    timed = RuleTable.empty("n1", (), lambda: now).rebuilt(Head(1, "x"), [lasting, ending])
    assert timed.match(*asked[0]).id == "e"
    now = 10
    assert timed.match(*asked[0]).id == "r"
    lifted = timed.apply([Change(Head(2, "y"), ChangeOp.REMOVE, ending)])
    assert lifted.match(*asked[0]).id == "r"
    assert len(lifted._cache) == 1


def test_a_pause_does_not_match_mail_that_it_let_go():
    held = table(pause("p1", 3, tag="a"))
    assert winner(held) == "p1"
    assert winner(held, tags=("a", pass_mark("p1.3"))) == ""
    assert winner(held, tags=("a", pass_mark("p1.2"))) == "p1", "the pause was edited since"
    both = table(pause("p1", 3, tag="a"), pause("p2", 2, domain="example.com"), rule("e", 554, 1, pool="q"))
    assert winner(both, tags=("a", pass_mark("p1.3"))) == "p2"
    assert winner(both, pool="q", tags=("a", pass_mark("p1.3"), pass_mark("p2.2"))) == "e"


def test_the_site_is_asked_for_only_while_a_rule_asks_and_an_unknown_one_matches_nothing() -> None:
    asked = []

    def sites(domain: str) -> str | None:
        asked.append(domain)
        return SITES(domain)

    plain = RuleTable.empty("n1", (), sites=sites).rebuilt(Head(1, "x"), [rule("r", pool="q")])
    assert (winner(plain), asked, plain.asks_site) == ("", [], False)
    by_site = plain.apply([Change(Head(2, "y"), ChangeOp.PUT, rule("big", site="big"))])
    assert by_site.asks_site
    assert [winner(by_site, domain=domain) for domain in ("example.com", "other.org", "com")] == ["big", "", ""]
    assert asked == ["example.com", "other.org", "com"]
    remembered = by_site.match("p", "", "com", ("a",), site="big")
    assert remembered == by_site.rule("big"), "as its outlet knew it"
    assert winner(by_site, domain="other.org") == ""
