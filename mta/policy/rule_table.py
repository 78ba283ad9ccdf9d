"""The rule table: all forced errors and pauses, with an index, so that `match` costs the same with ten or 10,000.

A table is immutable; a process swaps it for the next one, which `apply` makes and which shares all unchanged parts. The
index is label -> destination -> source. The labels of a delivery are its tags, the mark of its tenant
and, where some rule asks for it, the mark of its site. A lookup
probes each label that has rules, and there each parent domain that a wildcard could cover. Rules that ask for the
message (its addresses, its acceptance) have an index of their own, where the addresses are labels, too; without such
rules they cost nothing. Among the rules that match, the one with the greatest `rank` wins.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from mta.model.mail import site_mark, tenant_mark
from mta.model.rules import NO_HEAD, Change, ChangeOp, Head, Kind, Rule, Selectors
from mta.policy.addresses import ANY_AT, address_marks, domain_of, sender_mark
from mta.policy.rule_draft import Draft, Entries, Index
from mta.policy.rule_effect import ends, holds, is_counting
from mta.policy.rule_index import Clock, Entry, Rank, When, all_labels, fulfils, joint_labels

# The powers of a rule, weakest first.
_DEFERS: Final = 1
_HOLDS: Final = 2
_COUNTS: Final = 3
_ENDS: Final = 4

Sites = Callable[[str], str | None]  # the site of a domain; None = not known

_CACHED: Final = 4096  # results of `match` that a table caches


class NoSuccessor(ValueError):
    """The changes do not follow this table's head directly: the caller must load the whole table."""


class Message(Protocol):
    """The facts of a delivery that rules may ask for beside its queue, its labels and its peer. A record has them."""

    @property
    def sender(self) -> str: ...

    @property
    def recipient(self) -> str: ...

    @property
    def accepted_at(self) -> int:
        """Unix milliseconds."""
        ...


def rank(rule: Rule) -> Rank:
    """The rank of a rule among those that match the same delivery. Several domains are one selector; `ip` and addresses
    count as exact names and `mx` as a domain; a tenant counts as a selector, not as a tag. The hold of an order that
    counts wins over all pauses, an older hold over a newer one: it meets everything that it matches."""
    if is_counting(rule):
        return (_COUNTS, False, 0, False, -rule.generation, rule.id)
    chosen = rule.selectors
    given = (
        chosen.pool, chosen.mta, chosen.domain, chosen.domains, chosen.mx, chosen.ip, chosen.tag, chosen.tags_all,
        chosen.except_tags, chosen.tenant, chosen.sender, chosen.recipient, chosen.accepted_before,
        chosen.accepted_after, chosen.site,
    )  # fmt: skip
    names = [
        name for name in (*chosen.names, chosen.mx, chosen.ip, chosen.sender, chosen.recipient) if name is not None
    ]
    exact = bool(names) and not any(name.startswith("*") for name in names)
    tagged = chosen.tag is not None or chosen.tags_all is not None
    count = sum(selector is not None for selector in given)
    power = _HOLDS if holds(rule) else _ENDS if ends(rule) else _DEFERS
    return (power, tagged, count, exact, rule.generation, rule.id)


def covers(pattern: str, domain: str) -> bool:
    """`*.example.com` covers the subdomains of example.com at any depth, and not example.com itself."""
    if pattern.startswith("*."):
        return len(domain) >= len(pattern) and domain.endswith(pattern[1:])
    return pattern == domain


def covers_one(chosen: Selectors, domain: str) -> bool:
    """Whether the selectors name the domain, or none at all."""
    names = chosen.names
    return not names or any(covers(name, domain) for name in names)


def may_match(chosen: Selectors, pool: str, domain: str | None = None) -> bool:
    """Whether a rule with these selectors could match mail of that pool (and domain) with the right tags."""
    if chosen.pool not in (None, pool):
        return False
    recipient = chosen.recipient
    return domain is None or (covers_one(chosen, domain) and (recipient is None or domain_of(recipient) == domain))


def _labels(chosen: Selectors) -> set[str]:
    """The labels that each delivery has which these selectors match."""
    found = set(all_labels(chosen))
    if chosen.sender is not None:
        found.add(sender_mark(ANY_AT + domain_of(chosen.sender)))
    return found


def _time_zero() -> int:
    return 0


def no_sites(domain: str) -> None:
    """For a process that knows no sites."""
    return


class RuleTable:
    """All rules at one head. `match` is synchronous and costs O(labels + depth of the domain). The table caches
    results, since the same delivery is matched at acceptance, at its claim, at MAIL and before its final dot."""

    __slots__ = (
        "_applied_to",
        "_by_message",
        "_cache",
        "_changed_rules",
        "_clock",
        "_entries",
        "_plain",
        "_sites",
        "_suspended",
        "_when",
        "asks_message",
        "asks_site",
        "head",
        "is_empty",
        "node",
        "protected",
        "tenants",
    )

    def __init__(self, node: str, protected: frozenset[str], clock: Clock, sites: Sites = no_sites) -> None:
        """Use `empty`, `build`, `rebuilt` or `apply`."""
        self.head = NO_HEAD
        self.is_empty = (
            True  # no mail needs to be matched; an attribute, since it is asked several times for each message
        )
        self.asks_message = False  # some rule asks for the message
        self.asks_site = False  # some rule asks for the site
        self.tenants: Mapping[str, Rule] = {}  # the terms of those tenants that have an entry, by name
        self.node = node
        self.protected = protected
        self._suspended: Mapping[str, Entry] = {}  # the terms that hold protected mail, too, by the tenant's label
        self._clock = clock
        self._sites = sites
        self._when = When(clock)
        self._applied_to: Head | None = None  # the head of the table that `apply` made this one from
        self._changed_rules: tuple[Rule, ...] = ()  # the rules that `apply` added or replaced
        self._cache: dict[tuple[str, str, str, tuple[str, ...], str, str], Rule | None] = {}
        self._entries: Entries = {}
        self._plain = Index.empty()
        self._by_message = Index.empty()

    @classmethod
    def empty(
        cls, node: str = "", protected: Iterable[str] = (), clock: Clock = _time_zero, sites: Sites = no_sites
    ) -> "RuleTable":
        """`protected`: only rules whose `tag` is one of the protected tags of a mail match that mail. `clock` returns
        Unix milliseconds; the table calls it only if a rule with an end would win. By default no rule ends.
        `sites` gives the site of a domain as far as the process knows it; the table calls it only if a rule asks."""
        return cls(node, frozenset(protected), clock, sites)

    @classmethod
    def build(cls, head: Head, rules: Iterable[Rule], node: str = "", clock: Clock = _time_zero) -> "RuleTable":
        """The table of `rules` for the node `node`: rules of another node alone never match here."""
        return cls.empty(node, (), clock).rebuilt(head, rules)

    def rebuilt(self, head: Head, rules: Iterable[Rule]) -> "RuleTable":
        """A new table of these rules alone, for the same node, protected tags, clock and sites."""
        fresh = RuleTable(self.node, self.protected, self._clock, self._sites)
        return fresh._changed(head, [(ChangeOp.PUT, rule) for rule in rules])

    def with_rules(self, rules: Iterable[Rule]) -> "RuleTable":
        """A table of this one's rules and `rules`, at the same head, for a caller that builds a large table in
        steps."""
        return self._changed(self.head, [(ChangeOp.PUT, rule) for rule in rules])

    def apply(self, changes: Sequence[Change]) -> "RuleTable":
        """The table after `changes`. They must follow this head without a gap; raises NoSuccessor."""
        if not changes:
            return self
        last = self.head
        for change in changes:
            if change.head != last or last is self.head:
                if change.head.generation != last.generation + 1:
                    raise NoSuccessor(f"generation {change.head.generation} where {last.generation + 1} was due")
                last = change.head
        made = self._changed(changes[-1].head, [(change.op, change.rule) for change in changes])
        made._applied_to = self.head
        put = {change.rule.id: change.rule for change in changes if change.op is ChangeOp.PUT}
        made._changed_rules = tuple(rule for rule in put.values() if made.rule(rule.id) is rule)
        return made

    def fresh_since(self, before: "RuleTable") -> Sequence[Rule]:
        """The rules that `before` lacks, or has in another form. This is cheap if `apply` made this table from
        `before`."""
        if self._applied_to == before.head:
            return self._changed_rules
        return [rule for rule in self.rules() if (known := before.rule(rule.id)) is not rule and known != rule]

    def match(
        self,
        pool: str,
        mta: str,
        domain: str,
        labels: tuple[str, ...],
        ip: str = "",
        mx: str = "",
        message: Message | None = None,
        site: str | None = None,
    ) -> Rule | None:
        """The rule that decides about a delivery; None: no rule matches.

        `labels` are `Record.labels`; `domain` is lower case A-labels. `mta` is the sending IP, `ip` and `mx` are the
        peer's address and name (lower case). "" and None mean not known: a rule with that selector does not match then.
        `site` is that of the domain where the table's process does not know it any more.
        """
        if not self._entries:
            return None
        if self.asks_site:
            labels = self._with_site(labels, domain, site)
        asked = (pool, mta, domain, labels, ip, mx)
        try:
            found = self._cache[asked]
        except KeyError:
            found = self._found(pool, mta, domain, labels, ip, mx)
            if not self._plain.timed:  # else the result also depends on the time
                if len(self._cache) >= _CACHED:
                    self._cache.clear()
                self._cache[asked] = found
        if self.asks_message and message is not None:
            return self._with_message(found, pool, mta, domain, labels, ip, mx, message)
        return found

    def _with_site(self, labels: tuple[str, ...], domain: str, site: str | None) -> tuple[str, ...]:
        site = self._sites(domain) or site
        return labels if site is None else (*labels, site_mark(site))

    def _found(self, pool: str, mta: str, domain: str, labels: tuple[str, ...], ip: str, mx: str) -> Rule | None:
        best = self._plain.best(None, pool, mta, domain, labels, ip, mx, self.protected, self._when)
        if self._suspended and not self.protected.isdisjoint(labels):
            terms = next((self._suspended[label] for label in labels if label in self._suspended), None)
            if terms is not None and (best is None or terms.rank > best.rank):
                best = terms
        return None if best is None else best[1]

    def _with_message(
        self,
        found: Rule | None,
        pool: str,
        mta: str,
        domain: str,
        labels: tuple[str, ...],
        ip: str,
        mx: str,
        message: Message,
    ) -> Rule | None:
        """The rule that decides, where `found` is the one that does without those that ask for the message."""
        best = None if found is None else self._entries[found.id][0]
        every = labels + address_marks(message.sender, message.recipient)
        when = When(self._clock, message.accepted_at)
        best = self._by_message.best(best, pool, mta, domain, every, ip, mx, self.protected, when)
        return None if best is None else best[1]

    def matches(
        self,
        rule: Rule,
        pool: str,
        mta: str,
        domain: str,
        labels: tuple[str, ...],
        ip: str = "",
        mx: str = "",
        message: Message | None = None,
        site: str | None = None,
    ) -> bool:
        """Whether this rule matches a delivery, even if another rule wins."""
        chosen, when = rule.selectors, self._when
        if chosen.site is not None:
            labels = self._with_site(labels, domain, site)
        if chosen.asks_message:
            if message is None:
                return False
            labels = labels + address_marks(message.sender, message.recipient)
            when = When(self._clock, message.accepted_at)
        return (
            rule.enabled
            and (chosen.pool is None or chosen.pool == pool)
            and (chosen.mta is None or (mta != "" and chosen.mta == mta))
            and covers_one(chosen, domain)
            and (chosen.ip is None or (ip != "" and chosen.ip == ip))
            and (chosen.mx is None or (mx != "" and covers(chosen.mx, mx)))
            and (chosen.cluster or chosen.node == self.node)
            and (chosen.tag in self.protected or rule.kind is Kind.TENANT or self.protected.isdisjoint(labels))
            and fulfils(rule, all_labels(chosen), labels, when)
        )

    def shadowed_by(self, rule: Rule) -> str | None:
        """The id of a rule that wins wherever `rule` matches; None: there is none."""
        mine, chosen, labels = rank(rule), rule.selectors, _labels(rule.selectors)
        wide = [entry for index in (self._plain, self._by_message) for entry in index.as_wide_as(chosen, labels)]
        found = [entry for entry in wide if entry.rank > mine and self._hides(entry.rule, rule, labels)]
        return max(found).rule.id if found else None

    def _hides(self, other: Rule, rule: Rule, labels: set[str]) -> bool:
        """Whether `other` matches wherever `rule` does, given that its sources include those of `rule`, and its
        destinations the first of those. `labels` are those of all mail that `rule` matches."""
        chosen, wide = rule.selectors, other.selectors
        return (
            (wide.cluster or wide.node == chosen.node)
            and labels.issuperset(joint_labels(wide))
            and (wide.tag is None or wide.tag in labels)
            and set(chosen.except_tags or ()).issuperset(wide.except_tags or ())
            and all(covers_one(wide, name) for name in (chosen.domains or ())[1:])
            and _at_least(wide.accepted_before, chosen.accepted_before)
            and _at_most(wide.accepted_after, chosen.accepted_after)
            and (not other.expires_at or 0 < rule.expires_at <= other.expires_at)
            and (wide.schedule is None or (wide.schedule, wide.timezone) == (chosen.schedule, chosen.timezone))
            and (chosen.tag not in self.protected or wide.tag in self.protected or other.kind is Kind.TENANT)
        )

    def rule(self, rule_id: str) -> Rule | None:
        known = self._entries.get(rule_id)
        return known[0].rule if known is not None else None

    def rules(self) -> Iterable[Rule]:
        """Every rule in no order, also those of other nodes and those not in force."""
        return [entry.rule for entry, _ in self._entries.values()]

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        at = f" at {self.node}" if self.node else ""
        change = self.head.change or "never changed"
        return f"<RuleTable generation {self.head.generation} ({change}), {len(self)} rules{at}>"

    def _changed(self, head: Head, steps: Sequence[tuple[ChangeOp, Rule]]) -> "RuleTable":
        draft = Draft(self._entries, self._plain, self._by_message, self.node, self.protected)
        for op, rule in steps:
            draft.remove(rule.id)
            if op is ChangeOp.PUT:
                draft.put(rule, rank(rule))
        made = RuleTable(self.node, self.protected, self._clock, self._sites)
        made.head = head
        made._entries = draft.entries
        made.tenants = _tenants_after(self.tenants, steps)
        made._suspended = self._suspended if made.tenants is self.tenants else made._suspensions()
        made._plain, made._by_message = draft.seal()
        made.is_empty = not (made._plain or made._by_message)
        made.asks_message = bool(made._by_message)
        made.asks_site = made._plain.sited + made._by_message.sited > 0
        return made

    def _suspensions(self) -> Mapping[str, Entry]:
        """A suspension concerns all mail of its tenant; other rules spare protected mail that they do not name."""
        if not self.protected:
            return {}
        entries = {name: self._entries[terms.id][0] for name, terms in self.tenants.items() if terms.enabled}
        return {tenant_mark(name): entry for name, entry in entries.items()}


def _tenants_after(known: Mapping[str, Rule], steps: Sequence[tuple[ChangeOp, Rule]]) -> Mapping[str, Rule]:
    """The terms of tenants after the changes."""
    changed = [(op, rule) for op, rule in steps if rule.kind is Kind.TENANT]
    if not changed:
        return known
    found = dict(known)
    for op, rule in changed:
        name = rule.selectors.tenant or ""
        if op is ChangeOp.PUT:
            found[name] = rule
        else:
            found.pop(name, None)
    return found


def _at_least(wide: int | None, narrow: int | None) -> bool:
    """Whether the upper bound `wide`, None = none, leaves out nothing that `narrow` lets in."""
    return wide is None or (narrow is not None and wide >= narrow)


def _at_most(wide: int | None, narrow: int | None) -> bool:
    """The same of a lower bound."""
    return wide is None or (narrow is not None and wide <= narrow)
