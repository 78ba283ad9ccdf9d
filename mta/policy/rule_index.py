"""The rule index: the rules of one label, by where a delivery goes and comes from, the best of each place first.

A rule stands in one place, and a rule with several domains in one place for each of them. A place does not express
several tags, excluded tags, the time of acceptance, and the times at which a rule matches: the lookup checks these on
the rule itself, and only if the rule would win. Labels are the tags of a delivery, the mark of its tenant and, where
rules ask for them, the marks of its site and of its addresses.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from mta.model.mail import pass_mark, site_mark, tenant_mark
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.addresses import recipient_mark, sender_mark
from mta.policy.rule_effect import is_on

# (kind, has tags, number of selectors, exact name, generation, id): compared from the left, the greatest wins; the id
# makes every two rules comparable.
Rank = tuple[int, bool, int, bool, int, str]
Clock = Callable[[], int]  # Unix milliseconds

_Part = TypeVar("_Part")


class When(NamedTuple):
    """The times that the conditions of a rule may ask for."""

    clock: Clock
    accepted_at: int = 0  # Unix ms; asked only by rules that ask for the message


class Target(NamedTuple):
    """The destination for which a rule stands in a place: one of these at most."""

    domain: str | None
    ip: str | None
    mx: str | None


_ANYWHERE: Final = [Target(None, None, None)]


def targets(chosen: Selectors) -> list[Target]:
    """The places of a rule among the destinations."""
    if chosen.domains is not None:
        return [Target(name, chosen.ip, chosen.mx) for name in chosen.domains]
    if chosen.domain is None and chosen.ip is None and chosen.mx is None:
        return _ANYWHERE
    return [Target(chosen.domain, chosen.ip, chosen.mx)]


class Entry(NamedTuple):
    """A rule in its place. `plain`: the rule has no conditions but those of its place."""

    rank: Rank
    rule: Rule
    plain: bool
    needed: tuple[str, ...]  # labels that must all be there, beside the one that its place is for


Entries = tuple[Entry, ...]  # best first


def place(rank: Rank, rule: Rule, label: str | None) -> Entry:
    """The entry of a rule that stands under this label; None: under none."""
    chosen = rule.selectors
    needed = tuple(one for one in all_labels(chosen) if one != label)
    conditions = needed, chosen.except_tags, chosen.accepted_before, chosen.accepted_after
    conditional = rule.expires_at > 0 or chosen.schedule is not None or rule.kind is Kind.PAUSE
    return Entry(rank, rule, not (conditional or any(one not in (None, ()) for one in conditions)), needed)


def passing(pause: Rule) -> str:
    """The entry of `Record.passed` for mail that the pause, as it stands, has let go."""
    return f"{pause.id}.{pause.generation}"


def joint_labels(chosen: Selectors) -> tuple[str, ...]:
    """The labels that must all be there, beside `tag`; the tenant, the site and each address are
    among them."""
    found = chosen.tags_all or ()
    if chosen.tenant is not None:
        found = (*found, tenant_mark(chosen.tenant))
    if chosen.site is not None:
        found = (*found, site_mark(chosen.site))
    if chosen.sender is not None:
        found = (*found, sender_mark(chosen.sender))
    return found if chosen.recipient is None else (*found, recipient_mark(chosen.recipient))


def all_labels(chosen: Selectors) -> tuple[str, ...]:
    """The labels that must all be there."""
    return joint_labels(chosen) if chosen.tag is None else (chosen.tag, *joint_labels(chosen))


def fulfils(rule: Rule, needed: tuple[str, ...], labels: tuple[str, ...], when: When) -> bool:
    """Whether the delivery fulfils the conditions beside the rule's place: required labels, excluded tags, the time of
    its acceptance, and the times at which the rule matches. A pause does not match mail that it has let go."""
    for label in needed:
        if label not in labels:
            return False
    if rule.kind is Kind.PAUSE and pass_mark(passing(rule)) in labels:
        return False
    chosen = rule.selectors
    for tag in chosen.except_tags or ():
        if tag in labels:
            return False
    if chosen.accepted_before is not None and when.accepted_at >= chosen.accepted_before:
        return False
    if chosen.accepted_after is not None and when.accepted_at < chosen.accepted_after:
        return False
    return (not rule.expires_at and chosen.schedule is None) or is_on(rule, when.clock())


def _best_of(entries: Entries, best: Entry | None, labels: tuple[str, ...], when: When) -> Entry | None:
    """The first entry that the delivery fulfils, or `best` if that ranks higher."""
    for entry in entries:
        if best is not None and entry[0] < best[0]:
            return best
        if entry[2] or fulfils(entry[1], entry[3], labels, when):
            return entry
    return best


# Shared by all that have nothing, since most rules of a large table are alone in their place; never changed.
_NOTHING: Final[dict[str, Any]] = {}


def _own(table: dict[str, _Part]) -> dict[str, _Part]:
    """`table` where it may be changed."""
    return {} if table is _NOTHING else table


def _copied(table: dict[str, _Part]) -> dict[str, _Part]:
    return table.copy() if table else _NOTHING


class Sources:
    """The rules of one destination, by pool, by sending IP, and for any source. Never changed once in a table."""

    __slots__ = ("any", "mtas", "pools")

    def __init__(
        self, any_: Entries = (), pools: dict[str, Entries] = _NOTHING, mtas: dict[str, Entries] = _NOTHING
    ) -> None:
        self.any = any_
        self.pools = pools
        self.mtas = mtas

    def best(self, best: Entry | None, pool: str, mta: str, labels: tuple[str, ...], when: When) -> Entry | None:
        entries: Entries | None = self.any
        if entries and (best is None or entries[0][0] > best[0]):
            best = entries[0] if entries[0][2] else _best_of(entries, best, labels, when)
        if self.pools:
            entries = self.pools.get(pool)
            if entries and (best is None or entries[0][0] > best[0]):
                best = _best_of(entries, best, labels, when)
        if mta and self.mtas:
            entries = self.mtas.get(mta)
            if entries and (best is None or entries[0][0] > best[0]):
                best = _best_of(entries, best, labels, when)
        return best

    def is_empty(self) -> bool:
        return not (self.any or self.pools or self.mtas)

    def copy(self) -> "Sources":
        return Sources(self.any, _copied(self.pools), _copied(self.mtas))

    def insert(self, entry: Entry) -> None:
        chosen = entry.rule.selectors
        if chosen.pool is not None:
            self.pools = _own(self.pools)
            self.pools[chosen.pool] = _with(self.pools.get(chosen.pool, ()), entry)
        elif chosen.mta is not None:
            self.mtas = _own(self.mtas)
            self.mtas[chosen.mta] = _with(self.mtas.get(chosen.mta, ()), entry)
        else:
            self.any = _with(self.any, entry)

    def discard(self, rule: Rule) -> None:
        chosen = rule.selectors
        if chosen.pool is not None:
            _discard(self.pools, chosen.pool, rule.id)
        elif chosen.mta is not None:
            _discard(self.mtas, chosen.mta, rule.id)
        else:
            self.any = _without(self.any, rule.id)

    def as_wide_as(self, chosen: Selectors) -> Iterator[Entry]:
        """Every rule whose sources include those of `chosen`."""
        yield from self.any
        if chosen.pool is not None:
            yield from self.pools.get(chosen.pool, ())
        if chosen.mta is not None:
            yield from self.mtas.get(chosen.mta, ())


def _with(entries: Entries, entry: Entry) -> Entries:
    if not entries:
        return (entry,)
    at, end = 0, len(entries)
    while at < end:
        middle = (at + end) // 2
        if entries[middle][0] > entry[0]:
            at = middle + 1
        else:
            end = middle
    return (*entries[:at], entry, *entries[at:])


def _without(entries: Entries, rule_id: str) -> Entries:
    return tuple(entry for entry in entries if entry.rule.id != rule_id)


def _discard(table: dict[str, Entries], key: str, rule_id: str) -> None:
    left = _without(table[key], rule_id)
    if left:
        table[key] = left
    else:
        del table[key]


@lru_cache(maxsize=4096)
def parents(name: str) -> tuple[str, ...]:
    """Every domain above the name."""
    labels = name.split(".")
    return tuple(".".join(labels[at:]) for at in range(1, len(labels)))


class Names:
    """Sources by domain or host name: exactly, or below it. Never changed once in a table."""

    __slots__ = ("exact", "wild")

    def __init__(self, exact: dict[str, Sources] = _NOTHING, wild: dict[str, Sources] = _NOTHING) -> None:
        self.exact = exact
        self.wild = wild  # by the part after "*."

    def best(
        self, best: Entry | None, name: str, pool: str, mta: str, labels: tuple[str, ...], when: When
    ) -> Entry | None:
        if self.exact:
            sources = self.exact.get(name)
            if sources is not None:
                best = sources.best(best, pool, mta, labels, when)
        if self.wild:
            wild = self.wild
            for parent in parents(name):
                if parent in wild:
                    best = wild[parent].best(best, pool, mta, labels, when)
        return best

    def get(self, pattern: str) -> Sources | None:
        return self.wild.get(pattern[2:]) if pattern.startswith("*.") else self.exact.get(pattern)

    def with_(self, pattern: str, sources: Sources) -> "Names":
        """These names, changed; others where there is none yet."""
        found = Names() if self is _NO_NAMES else self
        if pattern.startswith("*."):
            found.wild = _put(found.wild, pattern[2:], sources)
        else:
            found.exact = _put(found.exact, pattern, sources)
        return found

    def as_wide_as(self, pattern: str) -> Iterator[Sources]:
        """The sources of every pattern that covers all names of `pattern`."""
        wild = pattern.startswith("*.")
        labels = (pattern[2:] if wild else pattern).split(".")
        found = [self.wild.get(".".join(labels[at:])) for at in range(0 if wild else 1, len(labels))]
        found.append(None if wild else self.exact.get(pattern))
        yield from (sources for sources in found if sources is not None)

    def copy(self) -> "Names":
        return Names(_copied(self.exact), _copied(self.wild)) if self else _NO_NAMES

    def __bool__(self) -> bool:
        return bool(self.exact or self.wild)


_NO_NAMES: Final = Names()


def _put(table: dict[str, Sources], key: str, sources: Sources) -> dict[str, Sources]:
    found = _own(table)
    if sources.is_empty():
        found.pop(key, None)
    else:
        found[key] = sources
    return found


class Bucket:
    """The rules of one label (or of none), by domain, remote IP, or MX host. Never changed once in a table."""

    __slots__ = ("any", "domains", "ips", "late", "mxs", "size")

    def __init__(
        self, any_: Sources | None, domains: Names, ips: dict[str, Sources], mxs: Names, size: int = 0
    ) -> None:
        self.any = any_
        self.domains = domains
        self.ips = ips
        self.mxs = mxs
        self.late = bool(ips or mxs)  # some rules are for a peer, which is known at the attempt
        self.size = size

    @classmethod
    def empty(cls) -> "Bucket":
        return cls(None, _NO_NAMES, _NOTHING, _NO_NAMES)

    def best(
        self,
        best: Entry | None,
        pool: str,
        mta: str,
        domain: str,
        labels: tuple[str, ...],
        ip: str,
        mx: str,
        when: When,
    ) -> Entry | None:
        if self.any is not None:
            best = self.any.best(best, pool, mta, labels, when)
        domains = self.domains
        if domains.exact or domains.wild:
            best = domains.best(best, domain, pool, mta, labels, when)
        if self.late and ip:
            sources = self.ips.get(ip)
            if sources is not None:
                best = sources.best(best, pool, mta, labels, when)
            if mx:
                best = self.mxs.best(best, mx, pool, mta, labels, when)
        return best

    def sources(self, target: Target) -> Sources:
        """A copy of the sources that hold the rules for this destination."""
        if target.domain is not None:
            known = self.domains.get(target.domain)
        elif target.ip is not None:
            known = self.ips.get(target.ip)
        elif target.mx is not None:
            known = self.mxs.get(target.mx)
        else:
            known = self.any
        return known.copy() if known is not None else Sources()

    def set_sources(self, target: Target, sources: Sources) -> None:
        if target.domain is not None:
            self.domains = self.domains.with_(target.domain, sources)
        elif target.ip is not None:
            self.ips = _put(self.ips, target.ip, sources)
        elif target.mx is not None:
            self.mxs = self.mxs.with_(target.mx, sources)
        else:
            self.any = None if sources.is_empty() else sources
        self.late = bool(self.ips or self.mxs)

    def as_wide_as(self, chosen: Selectors) -> Iterator[Entry]:
        """Every rule of this bucket whose sources include those of `chosen`, and whose destinations include the first
        of those."""
        places = [self.any]
        target = targets(chosen)[0]
        if target.domain is not None:
            places += self.domains.as_wide_as(target.domain)
        if target.ip is not None:
            places.append(self.ips.get(target.ip))
        if target.mx is not None:
            places += self.mxs.as_wide_as(target.mx)
        for sources in places:
            if sources is not None:
                yield from sources.as_wide_as(chosen)

    def is_empty(self) -> bool:
        return self.any is None and not (self.domains or self.ips or self.mxs)

    def copy(self) -> "Bucket":
        return Bucket(self.any, self.domains.copy(), _copied(self.ips), self.mxs.copy(), self.size)
