"""Decisions of brakes: the deliveries that count, the limit, and the rule that a brake makes."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from mta.model.brakes import Attempted, Brake, Metric, Pull, RateCount
from mta.model.mail import tenants_tag
from mta.model.rules import Rule
from mta.model.units import format_duration

BUCKETS: Final = 10  # of a window
_BLOCKS: Final = frozenset({"ip_block", "domain_block", "spam_content", "policy"})
_NOUNS: Final = {
    Metric.HARD_BOUNCE: "deliveries that ended are hard bounces",
    Metric.UNKNOWN_USER: "deliveries that ended are bounces of unknown users",
    Metric.DEFERRAL: "attempts were deferred",
    Metric.BLOCK: "deliveries that ended were blocked",
}


class Watched:
    """All brakes, ready to find those that count a delivery."""

    def __init__(self, brakes: Iterable[Brake] = (), lanes: int = 1) -> None:
        self._named: dict[str, list[Brake]] = {}
        self._each: dict[str, list[Brake]] = {}  # by tenant: those that watch every tag
        self._lanes = lanes
        self.asks_sites = False  # whether a brake watches the mail to one site only
        for brake in brakes:
            self.asks_sites = self.asks_sites or bool(brake.site)
            found = self._named if brake.tag else self._each
            found.setdefault(counter_of(brake.tag, brake.tenant) if brake.tag else brake.tenant, []).append(brake)

    def __bool__(self) -> bool:
        return bool(self._named or self._each)

    def counts(self, attempted: Iterable[Attempted]) -> list[RateCount]:
        """The counts of a batch, one for each brake and tag."""
        found: dict[tuple[str, str], RateCount] = {}
        for one in attempted:
            for name in one.names:
                for brake in self._of(name):
                    if brake.pool in ("", one.pool) and brake.site in ("", one.site):
                        self._count(found, brake, name, one)
        return list(found.values())

    def _of(self, name: str) -> Sequence[Brake]:
        named = self._named.get(name, ())
        each = self._each.get(name.partition("\0")[2], ()) if self._each else ()
        return (*named, *each) if named and each else named or each

    def _count(self, found: dict[tuple[str, str], RateCount], brake: Brake, name: str, one: Attempted) -> None:
        hit = is_hit(brake.metric, one)
        if not one.ended and not hit:
            return
        count = found.get((brake.id, name))
        if count is None:
            least = max(1, brake.least // (2 * self._lanes))
            count = found[brake.id, name] = RateCount(name, brake.id, bucket_ms(brake), least, [], [])
        count.counted.append(one.number)
        if hit:
            count.hits.append(one.number)


def is_hit(metric: Metric, one: Attempted) -> bool:
    if metric is Metric.DEFERRAL:
        return not one.ended
    if not one.ended:
        return False
    if metric is Metric.BLOCK:
        return one.category in _BLOCKS
    return one.bounced and (metric is Metric.HARD_BOUNCE or one.category == "bad_mailbox")


def counter_of(tag: str, tenant: str) -> str:
    """The name of the counter of a tag, of any tenant or of one."""
    return tenants_tag(tag, tenant) if tenant else tag


def bucket_ms(brake: Brake) -> int:
    return max(1, round(brake.window * 1000 / BUCKETS))


def is_beyond(brake: Brake, hits: int, counted: int) -> bool:
    """Whether the brake is to be pulled."""
    return counted >= max(1, brake.least) and hits > brake.ratio * counted


def rule_of(brake: Brake, pull: Pull) -> Rule:
    """The rule of the pull: the same, whoever makes it."""
    identity = f"{pull.brake}\0{pull.tag}\0{pull.tenant}\0{pull.number}".encode()
    return msgspec.structs.replace(
        brake.rule,
        id=f"{pull.at:012x}{hashlib.sha256(identity).hexdigest()[:10]}",
        selectors=msgspec.structs.replace(brake.rule.selectors, tag=pull.tag),
        created_at=pull.at,
        created_by=brake.author,
        reason=reason_of(brake, pull),
        expires_at=pull.at + round(brake.lasts * 1000) if brake.lasts else 0,
        owner=brake.owner,
    )


def reason_of(brake: Brake, pull: Pull) -> str:
    """For people: the figures that pulled it."""
    share = f"{percent(pull.hits / pull.counted)}, above the limit of {percent(brake.ratio)}"
    figures = f"{pull.hits} of {pull.counted} {_NOUNS[brake.metric]} within {format_duration(brake.window)}: {share}"
    return f"{figures}. {brake.rule.reason}" if brake.rule.reason else figures


def facts_of(brake: Brake, pull: Pull) -> dict[str, Any]:
    """The figures, as builtin values."""
    return {
        "tag": pull.tag,
        "metric": brake.metric.value,
        "hits": pull.hits,
        "counted": pull.counted,
        "ratio": round(pull.hits / pull.counted, 6),
        "limit": brake.ratio,
        "pull": pull.number,
    }


def percent(ratio: float) -> str:
    return f"{ratio * 100:.4g} %"
