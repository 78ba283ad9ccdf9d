"""The settle step as it is sent: what the deliveries of a batch have in common is said once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from mta.model.entries import framed
from mta.model.mail import QueueKey
from mta.model.outcomes import Class
from mta.ports.queueing import Move, Settlement
from mta.redis_store import codec, keys

_MOVES: Final = {Move.END: "e", Move.QUEUE: "q", Move.PARK: "p", Move.HOLD: "h"}
_END, _QUEUE, _HOLD = Move.END, Move.QUEUE, Move.HOLD
_KEYS: Final = (b"rec", b"content", b"refs", b"count", b"events", b"parked", b"cancels", b"pauses", b"spares")


class _Kind(NamedTuple):
    """What is decided alike."""

    number: int
    plain: bool  # it ends for good, and what it changes in the counters can be added up
    ended: str
    status: bytes  # what the final status begins with
    tags: list[str]  # of all its deliveries, one after the other


def settle_call(
    prefix: bytes, session: str, retention_ms: int, changes: Sequence[Settlement]
) -> tuple[list[bytes], list[bytes]]:
    """Keys and arguments in the order of settle.lua."""
    names: set[bytes] = set()
    holds: dict[tuple[bytes, QueueKey], int] = {}
    known: dict[Any, _Kind] = {}
    kinds: list[Any] = []
    hold_of, kind_of, finals = list[int](), list[int](), list[bytes]()
    others: dict[int, Any] = {}
    shared: dict[bytes, bytes] = {}
    for change in changes:
        ends = change.move is _END
        plain = ends and not (
            change.rule or change.uncertain or change.left_rule or change.past_dot_of or change.generation >= 0
        )
        if plain and not change.late_event:
            # Members of an enum go by identity: to hash them would cost more than the rest.
            key: Any = (id(change.ended), change.late_event, change.delivered_late, change.again, change.event == b"")
        else:
            key = _decided(change)
            names.update(_names(prefix, change))
            others[len(kind_of) + 1] = _other(change)
        kind = known.get(key)
        if kind is None:
            decided = _decided(change)
            kind = known[key] = _Kind(len(known) + 1, plain, decided[1], _status(change), [])
            kinds.append((plain, *decided))
        hold_of.append(holds.setdefault((change.token, change.queue), len(holds) + 1))
        kind_of.append(kind.number)
        kind.tags.extend(change.tags)
        finals.append(kind.status + change.final if ends else b"")
        if change.shared is not None:
            shared[change.shared.digest] = change.shared.raw
    plainly: list[Any] = []
    for kind in known.values():
        many = Counter(kind.tags)
        names.update([keys.tag_key(prefix, tag.encode()) for tag in many])
        if kind.plain:
            plainly += (kind.ended, kind_of.count(kind.number), [item for pair in many.items() for item in pair])
    named = [f"{token.decode()}|{pool}|{domain}" for token, (pool, domain) in holds]
    blob = codec.encode((session, retention_ms, named, kinds, plainly, hold_of, kind_of, others, codec.pairs(shared)))
    return (
        [prefix + b"lane", keys.claimed_key(prefix, session.encode()), *[prefix + name for name in _KEYS], *names],
        [
            blob,
            framed([change.event for change in changes]),
            b"".join([change.id for change in changes]),
            codec.encode([change.tags for change in changes]),
            *finals,
        ],
    )


def _decided(change: Settlement) -> tuple[Any, ...]:
    """In the order of settle.lua."""
    return (
        _MOVES[change.move],
        change.ended.value if change.ended is not None else "",
        change.stage,
        change.generation,
        change.rule,
        change.uncertain,
        change.delivered_late,
        change.deferred_by_rule,
        change.past_dot_of,
        change.left_rule,
        change.again,
        change.spare_ms,
        change.late_event is None,
        bool(change.event),
    )


def _other(change: Settlement) -> tuple[Any, ...]:
    """What only some deliveries have: when it is due, its new record, a late event of its own."""
    record = codec.lua_text(codec.encode_record(change.record, 0)) if change.record is not None else ""
    return change.due_at, record, codec.lua_text(change.late_event or b"")


def _status(change: Settlement) -> bytes:
    """How the final status begins: the class's first letter, and what changes when it turns out to be delivered."""
    doubt = int(change.uncertain)
    if change.ended is None:  # it does not end
        return b""
    if change.ended is Class.INTERCEPTED:
        return f"i:{change.stage}:{doubt}:{change.rule}\0".encode()
    return (f"c:{doubt}\0" if change.ended is Class.CANCELED else f"{change.ended[0]}\0").encode()


def _names(prefix: bytes, change: Settlement) -> Iterable[bytes]:
    """The keys that it may write besides those of its tags."""
    pool, domain = change.queue
    if change.move is _HOLD:
        yield keys.held_key(prefix, change.rule.encode())
    elif change.spare_ms:
        yield keys.spared_key(prefix, change.rule.encode())
    elif change.move is _QUEUE:
        yield keys.due_key(prefix, pool.encode(), domain.encode())
        yield keys.agenda_key(prefix, pool.encode())
    for rule in (change.rule, change.left_rule, *change.past_dot_of):
        if rule:
            yield keys.rule_key(prefix, rule.encode())
