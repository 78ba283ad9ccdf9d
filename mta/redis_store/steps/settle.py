"""The settle step as it is sent: queues and decisions that deliveries of a batch have in common are sent once."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from mta.model.brakes import RateCount
from mta.model.entries import framed
from mta.model.mail import QueueKey
from mta.model.outcomes import Class
from mta.model.shares import place_of
from mta.ports.queueing import Move, Settlement
from mta.redis_store import codec, keys

_MOVES: Final = {Move.END: "e", Move.QUEUE: "q", Move.PARK: "p", Move.HOLD: "h"}
# The rest of what `_kind` reads, beside what the key of a kind says of move, class and event.
_DECISION: Final = attrgetter(
    "stage", "generation", "rule", "uncertain", "delivered_late", "deferred_by_rule", "past_dot_of", "left_rule",
    "again", "spare_ms",
)  # fmt: skip
_END, _QUEUE, _HOLD = Move.END, Move.QUEUE, Move.HOLD
# The first keys of the step, in the order of KEYS in settle.lua; `claimed` is that of the session.
KEYS: Final = (
    b"lane", b"claimed", b"rec", b"content", b"refs", b"count", b"events", b"parked", b"cancels", b"pauses", b"spares",
)  # fmt: skip


class Batch(NamedTuple):
    """The packed argument of the step: its fields in the order in which settle.lua reads them."""

    session: str
    retention_ms: int
    holds: list[str]  # "<token>|<place>|<domain>", as the claims stand in `claimed`
    kinds: list["Kind"]
    plain: list[Any]  # class, deliveries, [tag, deliveries, ...], ... of the kinds that are plain
    hold_of: list[int]  # by delivery: number of its hold, from 1
    kind_of: list[int]
    others: dict[int, "Other"]  # by number of a delivery, from 1
    kept: int  # common fields that the session has written in this hour, and that the caller leaves out
    commons: list[Any]  # digest, the fields that final statuses name by it, ... of others
    rates: list["Rate"]


class Kind(NamedTuple):
    """A decision that deliveries of a batch have in common."""

    plain: bool  # it ends them without rule, doubt or undo: their counters are changed for all of them together
    move: str
    class_: str
    stage: str
    generation: int
    rule: str
    uncertain: bool
    delivered_late: bool
    deferred: bool
    past_dot_of: Sequence[str]
    left_rule: str
    again: bool
    spare_ms: int
    told_late: bool  # a lost claim is told by the delivery's event, as LateOutcome
    told: bool  # it has an event


class Rate(NamedTuple):
    """Deliveries that a brake counts for a tag, by number, from 1."""

    name: str  # of the tag's counter
    brake: str
    bucket_ms: int
    least: int  # accepted deliveries of the tag in the lane below which nothing is counted
    counted: Sequence[int]
    hits: Sequence[int]


class Other(NamedTuple):
    """The fields that only some deliveries of a batch have."""

    due: int
    record: Any  # "" = it stays as it is
    late_event: Any


class _Group(NamedTuple):
    """The deliveries of one kind."""

    number: int
    kind: Kind
    status: bytes  # the beginning of their final status
    tags: list[str]  # of all of them, one after the other


def settle_call(
    prefix: bytes,
    session: str,
    retention_ms: int,
    changes: Sequence[Settlement],
    rates: Sequence[RateCount] = (),
    kept: Collection[bytes] = (),
    *,
    all_keys: bool = True,
) -> tuple[list[bytes], list[bytes]]:
    """Keys (all that the step may write, or the anchor alone) and arguments of the step. `kept`: the digests of common
    fields that the lane has of this session."""
    names: set[bytes] | None = set() if all_keys else None
    named = set[tuple[int, int]]()  # kinds and holds whose keys are among them
    holds: dict[tuple[bytes, QueueKey, str], int] = {}
    groups: dict[Any, _Group] = {}
    hold_of, kind_of, finals = list[int](), list[int](), list[bytes]()
    others, commons = dict[int, Other](), dict[bytes, bytes]()
    for change in changes:
        plain = change.move is _END and not _is_special(change)
        key = _key(change, plain)
        if not plain or change.late_event:
            others[len(kind_of) + 1] = _other(change)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(len(groups) + 1, _kind(change, plain), _status(change), [])
        hold = holds.setdefault((change.token, change.queue, change.share), len(holds) + 1)
        if names is not None and not plain and (pair := (group.number, hold)) not in named:
            named.add(pair)
            names.update(_names(prefix, change))
        hold_of.append(hold)
        kind_of.append(group.number)
        group.tags.extend(change.tags)
        finals.append(group.status + change.final if change.move is _END else b"")
        if change.shared is not None and change.shared.digest not in kept:
            commons[change.shared.digest] = change.shared.raw
    batch = Batch(
        session=session,
        retention_ms=retention_ms,
        holds=[f"{token.decode()}|{place_of(pool, share)}|{domain}" for token, (pool, domain), share in holds],
        kinds=[group.kind for group in groups.values()],
        plain=_plain_counts(prefix, groups.values(), kind_of, names),
        hold_of=hold_of,
        kind_of=kind_of,
        others=others,
        kept=len(kept),
        commons=codec.pairs(commons),
        rates=_rates(prefix, rates, names),
    )
    return _keys(prefix, session, names), _args(batch, changes, finals)


def _is_special(change: Settlement) -> bool:
    """Whether the end of a delivery touches more than its own state and the counters of its tags."""
    return bool(change.rule or change.uncertain or change.left_rule or change.past_dot_of or change.generation >= 0)


def _key(change: Settlement, plain: bool) -> Any:
    """Equal for deliveries of one group. Members of an enum are keyed by identity: hashing them would cost more than
    the rest."""
    if plain and not change.late_event:
        return id(change.ended), change.late_event, change.delivered_late, change.again, not change.event
    return id(change.move), id(change.ended), change.late_event is None, not change.event, _DECISION(change)


def _plain_counts(prefix: bytes, groups: Iterable[_Group], kind_of: list[int], names: set[bytes] | None) -> list[Any]:
    """`Batch.plain`; the keys of all tags are added to `names`."""
    found: list[Any] = []
    for group in groups:
        many = Counter(group.tags)
        if names is not None:
            names.update([keys.tag_key(prefix, tag.encode()) for tag in many])
        if group.kind.plain:
            by_tag = [item for pair in many.items() for item in pair]
            found += (group.kind.class_, kind_of.count(group.number), by_tag)
    return found


def _rates(prefix: bytes, rates: Sequence[RateCount], names: set[bytes] | None) -> list[Rate]:
    """`Batch.rates`; their keys are added to `names`."""
    if not rates:
        return []
    if names is not None:
        names.add(keys.rates_key(prefix))
        names.update([keys.tag_rate_key(prefix, rate.brake, rate.name) for rate in rates])
    return [Rate(*rate) for rate in rates]


def _keys(prefix: bytes, session: str, names: Iterable[bytes] | None) -> list[bytes]:
    """`names` are those beside the fixed ones, None: the anchor is enough."""
    lane, _, *rest = KEYS
    if names is None:
        return [prefix + lane]
    fixed = [prefix + name for name in rest]
    return [prefix + lane, keys.claimed_key(prefix, session.encode()), *fixed, *names]


def _args(batch: Batch, changes: Sequence[Settlement], finals: list[bytes]) -> list[bytes]:
    return [
        codec.encode(batch),
        framed([change.event for change in changes]),
        b"".join([change.id for change in changes]),
        codec.encode([change.tags for change in changes]),
        *finals,
    ]


def _kind(change: Settlement, plain: bool) -> Kind:
    return Kind(
        plain=plain,
        move=_MOVES[change.move],
        class_=change.ended.value if change.ended is not None else "",
        stage=change.stage,
        generation=change.generation,
        rule=change.rule,
        uncertain=change.uncertain,
        delivered_late=change.delivered_late,
        deferred=change.deferred_by_rule,
        past_dot_of=change.past_dot_of,
        left_rule=change.left_rule,
        again=change.again,
        spare_ms=change.spare_ms,
        told_late=change.late_event is None,
        told=bool(change.event),
    )


def _other(change: Settlement) -> Other:
    record = codec.lua_text(codec.encode_record(change.record, 0)) if change.record is not None else ""
    return Other(change.due_at, record, codec.lua_text(change.late_event or b""))


def _status(change: Settlement) -> bytes:
    """The beginning of the final status: the class's first letter, and what changes when the delivery turns out to be
    delivered."""
    doubt = int(change.uncertain)
    if change.ended is None:  # it does not end
        return b""
    if change.ended is Class.INTERCEPTED:
        return f"i:{change.stage}:{doubt}:{change.rule}\0".encode()
    return (f"c:{doubt}\0" if change.ended is Class.CANCELED else f"{change.ended[0]}\0").encode()


def _names(prefix: bytes, change: Settlement) -> Iterable[bytes]:
    """The keys that the change may write besides those of its tags."""
    if change.move is _HOLD:
        yield keys.held_key(prefix, change.rule.encode())
    elif change.spare_ms:
        yield keys.spared_key(prefix, change.rule.encode())
    elif change.move is _QUEUE:
        yield from keys.queue_keys(prefix, change.queue, change.share)
    for rule in (change.rule, change.left_rule, *change.past_dot_of):
        if rule:
            yield keys.rule_key(prefix, rule.encode())
