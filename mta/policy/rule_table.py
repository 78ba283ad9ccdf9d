"""The rule table: every forced error, indexed so that finding the one that wins costs the same with ten or 10,000.

A table is immutable and swapped whole; `apply` makes the next one and shares with it all that did not change. The
index is tag -> domain -> source, so a lookup probes once for each tag of the message that has rules, and there
once for each label of the domain that wildcards could cover. Among the rules that match the greatest `rank` wins.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from mta.model.rules import NO_HEAD, Change, ChangeOp, ForcedError, Head, Selectors

# (kind, has tags, number of selectors, exact domain, generation, id): compared from the left, the greatest wins; the id
# makes every two rules comparable.
Rank = tuple[int, bool, int, bool, int, str]

_Entry = tuple[Rank, ForcedError]
_Entries = tuple[_Entry, ...]  # best first

# Kinds, weakest first; a pause stands between them (2).
_DEFERS: Final = 1
_ENDS: Final = 3


class NoSuccessor(ValueError):
    """The changes do not lead on from this table's head: load the whole table."""


def ends(rule: ForcedError) -> bool:
    """Whether the rule ends a delivery (5xx, 2xx); a 4xx only defers it."""
    return not 400 <= rule.code < 500


def swept(rule: ForcedError) -> bool:
    """Whether queued deliveries can be ended by the rule before any attempt: where and from which IP they would be
    attempted must not matter to it."""
    return ends(rule) and rule.selectors.mta is None and rule.selectors.cluster


def rank(rule: ForcedError) -> Rank:
    """What decides between rules that match the same delivery."""
    chosen = rule.selectors
    given = (chosen.pool, chosen.mta, chosen.domain, chosen.tag)
    exact = chosen.domain is not None and not chosen.domain.startswith("*.")
    count = sum(selector is not None for selector in given)
    return (_ENDS if ends(rule) else _DEFERS, chosen.tag is not None, count, exact, rule.generation, rule.id)


def matches(rule: ForcedError, pool: str, mta: str, domain: str, tags: Sequence[str], node: str = "") -> bool:
    """Whether this one rule applies to such a delivery; `mta` is "" before an attempt, `node` is the one making it."""
    chosen = rule.selectors
    return (
        (chosen.tag is None or chosen.tag in tags)
        and (chosen.pool is None or chosen.pool == pool)
        and (chosen.mta is None or (mta != "" and chosen.mta == mta))
        and (chosen.domain is None or covers(chosen.domain, domain))
        and (chosen.cluster or chosen.node == node)
    )


def covers(pattern: str, domain: str) -> bool:
    """`*.example.com` covers the subdomains of example.com at any depth, and not example.com itself."""
    if pattern.startswith("*."):
        return len(domain) >= len(pattern) and domain.endswith(pattern[1:])
    return pattern == domain


class _Sources:
    """The rules of one tag and domain, by pool, by sending IP, and for any source. Never changed once in a table."""

    __slots__ = ("any", "mtas", "pools")

    def __init__(self, any_: _Entries, pools: dict[str, _Entries], mtas: dict[str, _Entries]) -> None:
        self.any = any_
        self.pools = pools
        self.mtas = mtas

    def best(self, best: _Entry | None, pool: str, mta: str) -> _Entry | None:
        if self.any and (best is None or self.any[0][0] > best[0]):
            best = self.any[0]
        if self.pools:
            entries = self.pools.get(pool)
            if entries and (best is None or entries[0][0] > best[0]):
                best = entries[0]
        if mta and self.mtas:
            entries = self.mtas.get(mta)
            if entries and (best is None or entries[0][0] > best[0]):
                best = entries[0]
        return best

    def is_empty(self) -> bool:
        return not (self.any or self.pools or self.mtas)

    def copy(self) -> "_Sources":
        return _Sources(self.any, self.pools.copy(), self.mtas.copy())

    def insert(self, chosen: Selectors, entry: _Entry) -> None:
        if chosen.pool is not None:
            self.pools[chosen.pool] = _with(self.pools.get(chosen.pool, ()), entry)
        elif chosen.mta is not None:
            self.mtas[chosen.mta] = _with(self.mtas.get(chosen.mta, ()), entry)
        else:
            self.any = _with(self.any, entry)

    def discard(self, chosen: Selectors, rule_id: str) -> None:
        if chosen.pool is not None:
            _discard(self.pools, chosen.pool, rule_id)
        elif chosen.mta is not None:
            _discard(self.mtas, chosen.mta, rule_id)
        else:
            self.any = _without(self.any, rule_id)


def _with(entries: _Entries, entry: _Entry) -> _Entries:
    return tuple(sorted((*entries, entry), key=lambda known: known[0], reverse=True))


def _without(entries: _Entries, rule_id: str) -> _Entries:
    return tuple(entry for entry in entries if entry[1].id != rule_id)


def _discard(table: dict[str, _Entries], key: str, rule_id: str) -> None:
    left = _without(table[key], rule_id)
    if left:
        table[key] = left
    else:
        del table[key]


class _Bucket:
    """The rules of one tag (or of none), by domain. Never changed once in a table."""

    __slots__ = ("any", "exact", "wild")

    def __init__(self, any_: _Sources | None, exact: dict[str, _Sources], wild: dict[str, _Sources]) -> None:
        self.any = any_
        self.exact = exact
        self.wild = wild  # by what follows "*."

    def best(self, best: _Entry | None, pool: str, mta: str, domain: str) -> _Entry | None:
        if self.any is not None:
            best = self.any.best(best, pool, mta)
        if self.exact:
            sources = self.exact.get(domain)
            if sources is not None:
                best = sources.best(best, pool, mta)
        if self.wild:
            dot = domain.find(".")
            while dot >= 0:
                sources = self.wild.get(domain[dot + 1 :])
                if sources is not None:
                    best = sources.best(best, pool, mta)
                dot = domain.find(".", dot + 1)
        return best

    def is_empty(self) -> bool:
        return self.any is None and not self.exact and not self.wild

    def copy(self) -> "_Bucket":
        return _Bucket(self.any, self.exact.copy(), self.wild.copy())


_Path = tuple[str | None, str | None]  # tag, domain: where a rule's sources are in the index


class RuleTable:
    """All rules at one head. `match` is synchronous, allocates nothing, and costs O(tags + labels of the domain)."""

    __slots__ = ("_rules", "_tagged", "_untagged", "head", "node")

    def __init__(
        self, head: Head, node: str, rules: dict[str, ForcedError], tagged: dict[str, _Bucket], untagged: _Bucket | None
    ) -> None:
        """Use `empty`, `build` or `apply`."""
        self.head = head
        self.node = node
        self._rules = rules
        self._tagged = tagged
        self._untagged = untagged

    @classmethod
    def empty(cls, node: str = "") -> "RuleTable":
        return cls(NO_HEAD, node, {}, {}, None)

    @classmethod
    def build(cls, head: Head, rules: Iterable[ForcedError], node: str = "") -> "RuleTable":
        """The table of `rules` as the node named `node` sees it: rules bound to another node never match here."""
        table = cls.empty(node)
        return table._changed(head, [(ChangeOp.PUT, rule) for rule in rules])

    def apply(self, changes: Sequence[Change]) -> "RuleTable":
        """The table after `changes`, which must lead on from this head without a gap; raises NoSuccessor."""
        if not changes:
            return self
        for expected, change in enumerate(changes, self.head.generation + 1):
            if change.head.generation != expected:
                raise NoSuccessor(f"generation {change.head.generation} where {expected} was due")
        return self._changed(changes[-1].head, [(change.op, change.rule) for change in changes])

    def match(self, pool: str, mta: str, domain: str, tags: tuple[str, ...]) -> ForcedError | None:
        """The rule that decides about such a delivery; None: no rule does.

        `mta` is the sending IP, "" while it is not known (rules with an mta do not match then); `domain` is lower
        case A-labels.
        """
        best: _Entry | None = None
        tagged = self._tagged
        if tagged:
            for tag in tags:
                bucket = tagged.get(tag)
                if bucket is not None:
                    best = bucket.best(best, pool, mta, domain)
        if self._untagged is not None:
            best = self._untagged.best(best, pool, mta, domain)
        return None if best is None else best[1]

    def shadowed_by(self, rule: ForcedError) -> str | None:
        """The id of a rule that wins wherever `rule` matches, so that it never decides; None: it may decide."""
        mine = rank(rule)
        found = [
            other
            for other in self._generalizations(rule.selectors)
            if other[0] > mine and (other[1].selectors.cluster or other[1].selectors.node == rule.selectors.node)
        ]
        return max(found)[1].id if found else None

    def _generalizations(self, chosen: Selectors) -> Iterable[_Entry]:
        """Every rule that matches at least what `chosen` does."""
        domains: list[tuple[bool, str]] = []
        if chosen.domain is not None:
            wild = chosen.domain.startswith("*.")
            labels = (chosen.domain[2:] if wild else chosen.domain).split(".")
            domains = [(True, ".".join(labels[at:])) for at in range(0 if wild else 1, len(labels))]
            domains += [] if wild else [(False, chosen.domain)]
        for bucket in (self._untagged, self._tagged.get(chosen.tag) if chosen.tag is not None else None):
            if bucket is None:
                continue
            places = [bucket.any, *((bucket.wild if wild else bucket.exact).get(name) for wild, name in domains)]
            for sources in places:
                if sources is not None:
                    yield from sources.any
                    yield from sources.pools.get(chosen.pool, ()) if chosen.pool is not None else ()
                    yield from sources.mtas.get(chosen.mta, ()) if chosen.mta is not None else ()

    def rule(self, rule_id: str) -> ForcedError | None:
        return self._rules.get(rule_id)

    def rules(self) -> Iterable[ForcedError]:
        """Every rule, those of other nodes too, in no order."""
        return self._rules.values()

    def __len__(self) -> int:
        return len(self._rules)

    def __repr__(self) -> str:
        at = f" at {self.node}" if self.node else ""
        change = self.head.change or "never changed"
        return f"<RuleTable generation {self.head.generation} ({change}), {len(self)} rules{at}>"

    def _changed(self, head: Head, steps: Sequence[tuple[ChangeOp, ForcedError]]) -> "RuleTable":
        draft = _Draft(self._rules, self._tagged, self._untagged, self.node)
        for op, rule in steps:
            draft.remove(rule.id)
            if op is ChangeOp.PUT:
                draft.put(rule)
        tagged, untagged = draft.seal()
        return RuleTable(head, self.node, draft.rules, tagged, untagged)


class _Draft:
    """A table while it is being changed: each bucket is copied at the first change to it, then changed in place."""

    def __init__(
        self, rules: dict[str, ForcedError], tagged: dict[str, _Bucket], untagged: _Bucket | None, node: str
    ) -> None:
        self.rules = rules.copy()
        self._tagged = tagged.copy()
        self._untagged = untagged
        self._node = node
        self._buckets: dict[str | None, _Bucket] = {}  # ours already, by tag
        self._sources: dict[_Path, _Sources] = {}

    def put(self, rule: ForcedError) -> None:
        self.rules[rule.id] = rule
        chosen = rule.selectors
        if self._decides_here(chosen):
            self._sources_of(chosen).insert(chosen, (rank(rule), rule))

    def remove(self, rule_id: str) -> None:
        rule = self.rules.pop(rule_id, None)
        if rule is not None and self._decides_here(rule.selectors):
            self._sources_of(rule.selectors).discard(rule.selectors, rule_id)

    def _decides_here(self, chosen: Selectors) -> bool:
        """A rule with both pool and mta cannot be ordered; were one ever stored, it must not match too much."""
        return (chosen.cluster or chosen.node == self._node) and (chosen.pool is None or chosen.mta is None)

    def _bucket(self, tag: str | None) -> _Bucket:
        ours = self._buckets.get(tag)
        if ours is None:
            known = self._untagged if tag is None else self._tagged.get(tag)
            ours = known.copy() if known is not None else _Bucket(None, {}, {})
            self._buckets[tag] = ours
        return ours

    def _sources_of(self, chosen: Selectors) -> _Sources:
        path = (chosen.tag, chosen.domain)
        ours = self._sources.get(path)
        if ours is None:
            bucket = self._bucket(chosen.tag)
            if chosen.domain is None:
                known = bucket.any
            elif chosen.domain.startswith("*."):
                known = bucket.wild.get(chosen.domain[2:])
            else:
                known = bucket.exact.get(chosen.domain)
            ours = known.copy() if known is not None else _Sources((), {}, {})
            self._sources[path] = ours
        return ours

    def seal(self) -> tuple[dict[str, _Bucket], _Bucket | None]:
        """Put what was copied in its place; what became empty leaves the index."""
        for (tag, domain), sources in self._sources.items():
            bucket, kept = self._bucket(tag), not sources.is_empty()
            if domain is None:
                bucket.any = sources if kept else None
            else:
                wild = domain.startswith("*.")
                _set(bucket.wild if wild else bucket.exact, domain[2:] if wild else domain, sources if kept else None)
        for tag, bucket in self._buckets.items():
            left = None if bucket.is_empty() else bucket
            if tag is None:
                self._untagged = left
            elif left is None:
                self._tagged.pop(tag, None)
            else:
                self._tagged[tag] = left
        return self._tagged, self._untagged


def _set(table: dict[str, _Sources], key: str, value: _Sources | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
