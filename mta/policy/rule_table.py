"""The rule table: all forced errors and pauses, with an index, so that `match` costs the same with ten or 10,000.

A table is immutable; a process swaps it for the next one, which `apply` makes and which shares all unchanged parts. The
index is label -> destination -> source. The labels of a delivery are its tags and the mark of its tenant. A lookup
probes each label that has rules, and there each parent domain that a wildcard could cover. Among the rules that match,
the one with the greatest `rank` wins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from mta.model.rules import NO_HEAD, Change, ChangeOp, Head, Rule, Selectors
from mta.policy.rule_effect import ends, holds
from mta.policy.rule_index import Bucket, Clock, Entry, Rank, Sources, fulfils, joint_labels, place

# The powers of a rule, weakest first.
_DEFERS: Final = 1
_HOLDS: Final = 2
_ENDS: Final = 3

_CACHED: Final = 4096  # results of `match` that a table caches


class NoSuccessor(ValueError):
    """The changes do not follow this table's head directly: the caller must load the whole table."""


def rank(rule: Rule) -> Rank:
    """The rank of a rule among those that match the same delivery. `ip` counts as an exact name and `mx` as a domain; a
    tenant counts as a selector, not as a tag."""
    chosen = rule.selectors
    name = chosen.domain or chosen.mx
    given = (
        chosen.pool, chosen.mta, name, chosen.ip, chosen.tag, chosen.tags_all, chosen.except_tags, chosen.tenant,
    )  # fmt: skip
    exact = chosen.ip is not None or (name is not None and not name.startswith("*."))
    tagged = chosen.tag is not None or chosen.tags_all is not None
    count = sum(selector is not None for selector in given)
    power = _HOLDS if holds(rule) else _ENDS if ends(rule) else _DEFERS
    return (power, tagged, count, exact, rule.generation, rule.id)


def covers(pattern: str, domain: str) -> bool:
    """`*.example.com` covers the subdomains of example.com at any depth, and not example.com itself."""
    if pattern.startswith("*."):
        return len(domain) >= len(pattern) and domain.endswith(pattern[1:])
    return pattern == domain


def _labels(chosen: Selectors) -> set[str]:
    """The labels that a delivery must have."""
    return {*joint_labels(chosen), *(() if chosen.tag is None else (chosen.tag,))}


def _time_zero() -> int:
    return 0


class RuleTable:
    """All rules at one head. `match` is synchronous and costs O(labels + depth of the domain). The table caches
    results, since the same delivery is matched at acceptance, at its claim, at MAIL and before its final dot."""

    __slots__ = (
        "_applied_to",
        "_by_joint_label",
        "_by_tag",
        "_cache",
        "_changed_rules",
        "_clock",
        "_entries",
        "_expiring",
        "_untagged",
        "head",
        "is_empty",
        "node",
        "protected",
    )

    def __init__(self, node: str, protected: frozenset[str], clock: Clock) -> None:
        """Use `empty`, `build`, `rebuilt` or `apply`."""
        self.head = NO_HEAD
        self.is_empty = (
            True  # no mail needs to be matched; an attribute, since it is asked several times for each message
        )
        self.node = node
        self.protected = protected
        self._clock = clock
        self._applied_to: Head | None = None  # the head of the table that `apply` made this one from
        self._changed_rules: tuple[Rule, ...] = ()  # the rules that `apply` added or replaced
        self._expiring = 0  # number of rules with an end
        self._cache: dict[tuple[str, str, str, tuple[str, ...], str, str], Rule | None] = {}
        self._entries: dict[str, tuple[Entry, str | None]] = {}  # by rule id; with the label of the entry's bucket
        self._by_tag: dict[str, Bucket] = {}  # rules with `tag`
        # Rules with `tags_all` or `tenant` but without `tag`, each under one of its labels.
        self._by_joint_label: dict[str, Bucket] = {}
        self._untagged: Bucket | None = None

    @classmethod
    def empty(cls, node: str = "", protected: Iterable[str] = (), clock: Clock = _time_zero) -> "RuleTable":
        """`protected`: only rules whose `tag` is one of the protected tags of a mail match that mail. `clock` returns
        Unix milliseconds; the table calls it only if a rule with an end would win. By default no rule ends."""
        return cls(node, frozenset(protected), clock)

    @classmethod
    def build(cls, head: Head, rules: Iterable[Rule], node: str = "", clock: Clock = _time_zero) -> "RuleTable":
        """The table of `rules` for the node `node`: rules of another node alone never match here."""
        return cls.empty(node, (), clock).rebuilt(head, rules)

    def rebuilt(self, head: Head, rules: Iterable[Rule]) -> "RuleTable":
        """A new table of these rules alone, for the same node, protected tags and clock."""
        fresh = RuleTable(self.node, self.protected, self._clock)
        return fresh._changed(head, [(ChangeOp.PUT, rule) for rule in rules])

    def with_rules(self, rules: Iterable[Rule]) -> "RuleTable":
        """A table of this one's rules and `rules`, at the same head, for a caller that builds a large table in
        steps."""
        return self._changed(self.head, [(ChangeOp.PUT, rule) for rule in rules])

    def apply(self, changes: Sequence[Change]) -> "RuleTable":
        """The table after `changes`. They must follow this head without a gap; raises NoSuccessor."""
        if not changes:
            return self
        for expected, change in enumerate(changes, self.head.generation + 1):
            if change.head.generation != expected:
                raise NoSuccessor(f"generation {change.head.generation} where {expected} was due")
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
        self, pool: str, mta: str, domain: str, labels: tuple[str, ...], ip: str = "", mx: str = ""
    ) -> Rule | None:
        """The rule that decides about a delivery; None: no rule matches.

        `labels` are `Record.labels`; `domain` is lower case A-labels. `mta` is the sending IP, `ip` and `mx` are the
        peer's address and name (lower case). "" means not known: a rule with that selector does not match then.
        """
        if not self._entries:
            return None
        asked = (pool, mta, domain, labels, ip, mx)
        try:
            return self._cache[asked]
        except KeyError:
            found = self._found(pool, mta, domain, labels, ip, mx)
        if not self._expiring:  # else the result also depends on the time
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[asked] = found
        return found

    def _found(self, pool: str, mta: str, domain: str, labels: tuple[str, ...], ip: str, mx: str) -> Rule | None:
        best: Entry | None = None
        clock = self._clock
        protected = self.protected
        open_to_all = not protected or protected.isdisjoint(labels)
        tagged = self._by_tag
        if tagged:
            for label in labels:
                bucket = tagged.get(label)
                if bucket is not None and (open_to_all or label in protected):
                    best = bucket.best(best, pool, mta, domain, labels, ip, mx, clock)
        if open_to_all:
            if self._by_joint_label:
                for label in labels:
                    bucket = self._by_joint_label.get(label)
                    if bucket is not None:
                        best = bucket.best(best, pool, mta, domain, labels, ip, mx, clock)
            if self._untagged is not None:
                best = self._untagged.best(best, pool, mta, domain, labels, ip, mx, clock)
        return None if best is None else best[1]

    def matches(
        self, rule: Rule, pool: str, mta: str, domain: str, labels: tuple[str, ...], ip: str = "", mx: str = ""
    ) -> bool:
        """Whether this rule matches a delivery, even if another rule wins."""
        chosen = rule.selectors
        return (
            rule.enabled
            and (chosen.tag is None or chosen.tag in labels)
            and (chosen.pool is None or chosen.pool == pool)
            and (chosen.mta is None or (mta != "" and chosen.mta == mta))
            and (chosen.domain is None or covers(chosen.domain, domain))
            and (chosen.ip is None or (ip != "" and chosen.ip == ip))
            and (chosen.mx is None or (mx != "" and covers(chosen.mx, mx)))
            and (chosen.cluster or chosen.node == self.node)
            and (chosen.tag in self.protected or self.protected.isdisjoint(labels))
            and fulfils(rule, joint_labels(chosen), labels, self._clock)
        )

    def shadowed_by(self, rule: Rule) -> str | None:
        """The id of a rule that wins wherever `rule` matches; None: there is none."""
        mine = rank(rule)
        found = [
            entry for entry in self._as_wide_as(rule.selectors) if entry.rank > mine and self._hides(entry.rule, rule)
        ]
        return max(found).rule.id if found else None

    def _as_wide_as(self, chosen: Selectors) -> Iterator[Entry]:
        """Every rule whose destinations and sources include those of `chosen`; its labels may exclude `chosen`."""
        tables = self._by_tag, self._by_joint_label
        buckets = [self._untagged, *(table.get(label) for table in tables for label in _labels(chosen))]
        for bucket in buckets:
            if bucket is not None:
                yield from bucket.as_wide_as(chosen)

    def _hides(self, other: Rule, rule: Rule) -> bool:
        """Whether `other` matches wherever `rule` does, given that its destinations and sources include those of
        `rule`."""
        chosen, wide = rule.selectors, other.selectors
        return (
            (wide.cluster or wide.node == chosen.node)
            and _labels(chosen).issuperset(joint_labels(wide))
            and set(chosen.except_tags or ()).issuperset(wide.except_tags or ())
            and (not other.expires_at or 0 < rule.expires_at <= other.expires_at)
            and (chosen.tag not in self.protected or wide.tag in self.protected)
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
        draft = _Draft(self._entries, self._by_tag, self._by_joint_label, self._untagged, self.node, self._expiring)
        for op, rule in steps:
            draft.remove(rule.id)
            if op is ChangeOp.PUT:
                draft.put(rule)
        made = RuleTable(self.node, self.protected, self._clock)
        made.head = head
        made._entries, made._expiring = draft.entries, draft.expiring
        made.is_empty = not draft.entries
        made._by_tag, made._by_joint_label, made._untagged = draft.seal()
        return made


_Key = tuple[bool, str | None]  # of a bucket: whether it is for tags_all and tenants, and its label


class _Draft:
    """The next table under construction. The first change to a bucket copies it; later changes use that copy."""

    def __init__(
        self,
        entries: Mapping[str, tuple[Entry, str | None]],
        tagged: dict[str, Bucket],
        jointly: dict[str, Bucket],
        untagged: Bucket | None,
        node: str,
        ending: int,
    ) -> None:
        self.entries = dict(entries)
        self.expiring = ending
        self._by_tag = tagged.copy()
        self._by_joint_label = jointly.copy()
        self._untagged = untagged
        self._node = node
        self._buckets: dict[_Key, Bucket] = {}  # copied already, or new
        self._sources: dict[tuple[_Key, str | None, str | None, str | None], tuple[Selectors, Sources]] = {}

    def put(self, rule: Rule) -> None:
        label = self._label_of(rule.selectors)
        entry = place(rank(rule), rule, label)
        self.entries[rule.id] = entry, label
        self.expiring += rule.expires_at > 0
        if self._is_indexed(rule):
            key = _key(rule.selectors, label)
            self._sources_of(key, rule.selectors).insert(entry)
            self._bucket(key).size += 1

    def remove(self, rule_id: str) -> None:
        known = self.entries.pop(rule_id, None)
        self.expiring -= known is not None and known[0].rule.expires_at > 0
        if known is not None and self._is_indexed(known[0].rule):
            rule, label = known[0].rule, known[1]
            key = _key(rule.selectors, label)
            self._sources_of(key, rule.selectors).discard(rule)
            self._bucket(key).size -= 1

    def _label_of(self, chosen: Selectors) -> str | None:
        """The label under which the index holds a rule. Of several labels it is the one with the fewest rules;
        otherwise a tag that all campaigns share would have all rules in its bucket."""
        if chosen.tag is not None:
            return chosen.tag
        return min(joint_labels(chosen), key=lambda label: self._size((True, label)), default=None)

    def _size(self, key: _Key) -> int:
        ours = self._buckets.get(key) or self._known(key)
        return ours.size if ours is not None else 0

    def _is_indexed(self, rule: Rule) -> bool:
        """Whether the index holds the rule. It leaves out disabled rules, rules of other nodes, and rules with
        selectors that exclude each other: the API refuses such a rule, and a stored one must not match."""
        chosen = rule.selectors
        ordered = (chosen.pool is None or chosen.mta is None) and (chosen.domain, chosen.ip, chosen.mx).count(None) >= 2
        return rule.enabled and ordered and (chosen.cluster or chosen.node == self._node)

    def _known(self, key: _Key) -> Bucket | None:
        joint, label = key
        return self._untagged if label is None else (self._by_joint_label if joint else self._by_tag).get(label)

    def _bucket(self, key: _Key) -> Bucket:
        ours = self._buckets.get(key)
        if ours is None:
            known = self._known(key)
            ours = known.copy() if known is not None else Bucket.empty()
            self._buckets[key] = ours
        return ours

    def _sources_of(self, key: _Key, chosen: Selectors) -> Sources:
        path = (key, chosen.domain, chosen.ip, chosen.mx)
        ours = self._sources.get(path)
        if ours is None:
            ours = self._sources[path] = chosen, self._bucket(key).sources(chosen)
        return ours[1]

    def seal(self) -> tuple[dict[str, Bucket], dict[str, Bucket], Bucket | None]:
        """Put the copied buckets into the index, and take the empty ones out."""
        for (key, *_), (chosen, sources) in self._sources.items():
            self._bucket(key).set_sources(chosen, sources)
        for (joint, label), bucket in self._buckets.items():
            left = None if bucket.is_empty() else bucket
            table = self._by_joint_label if joint else self._by_tag
            if label is None:
                self._untagged = left
            elif left is None:
                table.pop(label, None)
            else:
                table[label] = left
        return self._by_tag, self._by_joint_label, self._untagged


def _key(chosen: Selectors, label: str | None) -> _Key:
    return chosen.tag is None and label is not None, label
