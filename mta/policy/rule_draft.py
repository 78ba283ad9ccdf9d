"""The index of a rule table by label, and the draft of the next one, which copies only the buckets that change."""

from collections.abc import Iterator, Mapping
from typing import Final

from mta.model.rules import Rule, Selectors
from mta.policy.rule_index import (
    Bucket,
    Entry,
    Rank,
    Sources,
    Target,
    When,
    all_labels,
    place,
    targets,
)

_CROWD: Final = 16  # rules under one tag, from which on others that have more labels stand under one of these

_Key = tuple[bool, str | None]  # of a bucket: whether its label is not the rules' own `tag`, and the label

Entries = dict[str, tuple[Entry, str | None]]  # by rule id; with the label of the entry's bucket


class Index:
    """The rules of a table, or some of them, by label. Never changed once in a table."""

    __slots__ = ("by_joint_label", "by_tag", "sited", "timed", "untagged")

    def __init__(
        self,
        by_tag: dict[str, Bucket],
        by_joint_label: dict[str, Bucket],
        untagged: Bucket | None,
        timed: int,
        sited: int,
    ) -> None:
        self.by_tag = by_tag  # rules with `tag`, under that tag
        self.by_joint_label = by_joint_label  # other rules, each under one of its labels
        self.untagged = untagged
        self.timed = timed  # number of rules that match at some times only
        self.sited = sited  # number of rules that ask for the site

    @classmethod
    def empty(cls) -> "Index":
        return cls({}, {}, None, 0, 0)

    def best(
        self,
        best: Entry | None,
        pool: str,
        mta: str,
        domain: str,
        labels: tuple[str, ...],
        ip: str,
        mx: str,
        protected: frozenset[str],
        when: When,
    ) -> Entry | None:
        """The entry with the greatest rank that the delivery fulfils, or `best` if that ranks higher."""
        open_to_all = not protected or protected.isdisjoint(labels)
        tagged = self.by_tag
        if tagged:
            for label in labels:
                bucket = tagged.get(label)
                if bucket is not None and (open_to_all or label in protected):
                    best = bucket.best(best, pool, mta, domain, labels, ip, mx, when)
        if open_to_all:
            if self.by_joint_label:
                for label in labels:
                    bucket = self.by_joint_label.get(label)
                    if bucket is not None:
                        best = bucket.best(best, pool, mta, domain, labels, ip, mx, when)
            if self.untagged is not None:
                best = self.untagged.best(best, pool, mta, domain, labels, ip, mx, when)
        return best

    def as_wide_as(self, chosen: Selectors, labels: set[str]) -> Iterator[Entry]:
        """Every rule whose sources include those of `chosen`, whose destinations include the first of those, and that
        stands under one of these labels or none; its other labels may exclude `chosen`."""
        tables = self.by_tag, self.by_joint_label
        for bucket in (self.untagged, *(table.get(label) for table in tables for label in labels)):
            if bucket is not None:
                yield from bucket.as_wide_as(chosen)

    def __bool__(self) -> bool:
        return bool(self.by_tag or self.by_joint_label or self.untagged)


class _IndexDraft:
    """The next index under construction. The first change to a bucket copies it; later changes use that copy."""

    def __init__(self, known: Index) -> None:
        self._by_tag = known.by_tag.copy()
        self._by_joint_label = known.by_joint_label.copy()
        self._untagged = known.untagged
        self._timed = known.timed
        self._sited = known.sited
        self._buckets: dict[_Key, Bucket] = {}  # copied already, or new
        self._sources: dict[tuple[_Key, Target], Sources] = {}

    def insert(self, entry: Entry, label: str | None) -> None:
        chosen = entry.rule.selectors
        key = _key(chosen, label)
        for target in targets(chosen):
            self._sources_of(key, target).insert(entry)
        self._bucket(key).size += 1
        self._timed += _is_timed(entry.rule)
        self._sited += chosen.site is not None

    def discard(self, rule: Rule, label: str | None) -> None:
        key = _key(rule.selectors, label)
        for target in targets(rule.selectors):
            self._sources_of(key, target).discard(rule)
        self._bucket(key).size -= 1
        self._timed -= _is_timed(rule)
        self._sited -= rule.selectors.site is not None

    def size(self, chosen: Selectors, label: str) -> int:
        """The number of rules in the bucket in which a rule with these selectors would stand under the label."""
        key = _key(chosen, label)
        ours = self._buckets.get(key) or self._known(key)
        return ours.size if ours is not None else 0

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

    def _sources_of(self, key: _Key, target: Target) -> Sources:
        ours = self._sources.get((key, target))
        if ours is None:
            ours = self._sources[key, target] = self._bucket(key).sources(target)
        return ours

    def seal(self) -> Index:
        """The index with the copied buckets put in, and the empty ones taken out."""
        for (key, target), sources in self._sources.items():
            self._bucket(key).set_sources(target, sources)
        for (joint, label), bucket in self._buckets.items():
            left = None if bucket.is_empty() else bucket
            table = self._by_joint_label if joint else self._by_tag
            if label is None:
                self._untagged = left
            elif left is None:
                table.pop(label, None)
            else:
                table[label] = left
        return Index(self._by_tag, self._by_joint_label, self._untagged, self._timed, self._sited)


class Draft:
    """The next table under construction: its entries, the index of the rules that go by queue, labels and peer, and the
    index of those that ask for the message, too."""

    def __init__(
        self,
        entries: Mapping[str, tuple[Entry, str | None]],
        plain: Index,
        by_message: Index,
        node: str,
        protected: frozenset[str],
    ) -> None:
        self.entries: Final = dict(entries)
        self._plain = _IndexDraft(plain)
        self._by_message = _IndexDraft(by_message)
        self._node = node
        self._protected = protected

    def put(self, rule: Rule, rank: Rank) -> None:
        label = self._label_of(rule.selectors)
        entry = place(rank, rule, label)
        self.entries[rule.id] = entry, label
        if self._is_indexed(rule):
            self._index_of(rule.selectors).insert(entry, label)

    def remove(self, rule_id: str) -> None:
        known = self.entries.pop(rule_id, None)
        if known is not None and self._is_indexed(known[0].rule):
            rule, label = known[0].rule, known[1]
            self._index_of(rule.selectors).discard(rule, label)

    def seal(self) -> tuple[Index, Index]:
        return self._plain.seal(), self._by_message.seal()

    def _index_of(self, chosen: Selectors) -> _IndexDraft:
        return self._by_message if chosen.asks_message else self._plain

    def _label_of(self, chosen: Selectors) -> str | None:
        """The label under which the index holds a rule. Of several labels it is the one with the fewest rules;
        otherwise a tag that all campaigns share would have all rules in its bucket. A rule stands under its own `tag`
        where that is protected and, unless it asks for the message, while few do: it costs nothing for other mail."""
        tag, index, labels = chosen.tag, self._index_of(chosen), all_labels(chosen)
        if tag is not None and (tag in self._protected or len(labels) == 1):
            return tag
        if tag is not None and not chosen.asks_message and index.size(chosen, tag) < _CROWD:
            return tag
        return min(labels, key=lambda label: index.size(chosen, label), default=None)

    def _is_indexed(self, rule: Rule) -> bool:
        """Whether the index holds the rule. It leaves out disabled rules, rules of other nodes, and rules with
        selectors that exclude each other: the API refuses such a rule, and a stored one must not match."""
        chosen = rule.selectors
        targets_of = (chosen.domain, chosen.domains, chosen.ip, chosen.mx)
        ordered = (chosen.pool is None or chosen.mta is None) and targets_of.count(None) >= len(targets_of) - 1
        return rule.enabled and ordered and (chosen.cluster or chosen.node == self._node)


def _is_timed(rule: Rule) -> bool:
    return rule.expires_at > 0 or rule.selectors.schedule is not None


def _key(chosen: Selectors, label: str | None) -> _Key:
    return label is not None and label != chosen.tag, label
