"""Rules, changes of them and sessions as the store writes them down."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from mta.model.actor import Actor
from mta.model.errors import BadValue, UnreadableRule
from mta.model.rule_events import change_event
from mta.model.rules import Build, Change, ChangeOp, Effective, Head, Kind, PastDot, Rule, SessionState, newest_format
from mta.model.sweeps import SweepState
from mta.policy.schedule import UTC, schedule_of
from mta.redis_store import codec, library

# Stands in an event for the generation that the store will give. Its bytes are in no text: they are not UTF-8.
_TO_BE_GIVEN: Final = 0xFFFEFDFCFBFAF9F8


class _Id(msgspec.Struct):
    """The id of a rule, whatever else the rule has."""

    id: str


_rule_decoder: Final = msgspec.msgpack.Decoder(Rule)
_id_decoder: Final = msgspec.msgpack.Decoder(_Id)
effect_decoder: Final = msgspec.msgpack.Decoder(Effective)
sweep_decoder: Final = msgspec.msgpack.Decoder(SweepState)
past_decoder: Final = msgspec.msgpack.Decoder(PastDot)
_about_decoder: Final = msgspec.json.Decoder(tuple[str, int, tuple[str, ...]])
_session_decoder: Final = msgspec.msgpack.Decoder(tuple[int, str, int, bool, int, str, str])
build_decoder: Final = msgspec.json.Decoder(Build)
_metrics_decoder: Final = msgspec.json.Decoder(dict[str, float])


class Seen(NamedTuple):
    """A rule as it stood in the store."""

    raw: bytes
    rule: Rule


def written(seen: Seen | None, rule: Rule) -> tuple[bytes, bytes, bytes, bytes]:
    """The arguments of a step that writes a rule: the rule as it was read, both identities, and the rule."""
    identity = identity_of(rule)
    raw, old = (b"", identity) if seen is None else (seen.raw, identity_of(seen.rule))
    return raw, old, identity, codec.encode(msgspec.structs.replace(rule, generation=0))


def order_of(seen: Seen | None) -> str:
    """The id of the order that made the rule as it was read, "" = it is not there."""
    return "" if seen is None else seen.rule.order_id


def identity_of(rule: Rule) -> bytes:
    """A rule is its kind and its whole selector set. The hold of an order with a bound is apart from all others."""
    if rule.kind is Kind.PAUSE and rule.bound is not None:
        return b"hold " + rule.id.encode()
    selectors = msgspec.json.encode(rule.selectors)
    return selectors if rule.kind is Kind.ERROR else rule.kind.encode() + b" " + selectors


def read_rule(raw: bytes, rule_id: str) -> Rule:
    """Raises UnreadableRule."""
    try:
        rule = _rule_decoder.decode(raw)
        if rule.selectors.schedule is not None:
            schedule_of(rule.selectors.schedule, rule.selectors.timezone or UTC)
    except (msgspec.DecodeError, BadValue) as error:
        raise UnreadableRule(rule_id, str(error)) from error
    return rule


def in_place_of(known: Rule, rule: Rule, by: Actor) -> Rule:
    """`rule` as `by` puts it in place of `known`: it keeps that rule's id and the facts of its creation."""
    return msgspec.structs.replace(
        rule,
        id=known.id,
        created_at=known.created_at,
        created_by=known.created_by,
        changed_by="" if by.author == known.created_by else by.author,
    )


def change_parts(op: ChangeOp, rule: Rule, before: Rule | None, by: Actor, at: int) -> tuple[bytes, bytes, bytes]:
    """The encoded event of a change, parted where the step writes the generation: first as a number, then as text."""
    event = change_event(op, msgspec.structs.replace(rule, generation=_TO_BE_GIVEN), before, by, at)
    head, _, rest = codec.encode(event).partition(msgspec.msgpack.encode(_TO_BE_GIVEN))
    middle, _, tail = rest.partition(msgspec.msgpack.encode(str(_TO_BE_GIVEN)))
    return head, middle, tail


def this_build(unreadable: str = "") -> bytes:
    """This one, as the store knows it."""
    return msgspec.json.encode(Build(library.NAME, newest_format(), unreadable))


def read_changes(generation: int, fields: Sequence[bytes]) -> list[Change]:
    """The changes that one step made. Raises UnreadableRule."""
    head, changes = raw_changes(generation, fields)
    return [Change(head, op, read_rule(raw, rule_id.decode())) for op, rule_id, raw in changes]


def raw_changes(generation: int, fields: Sequence[bytes]) -> tuple[Head, list[tuple[ChangeOp, bytes, bytes]]]:
    """The head that a step made; and of each of its changes the kind, the rule's id and the rule. Of a part of a set
    the field `rule` holds the rules."""
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    head, op = Head(generation, said[b"change"].decode()), ChangeOp(said[b"op"].decode())
    if op is not ChangeOp.SET:
        return head, [(op, said[b"id"], said[b"rule"])]
    return head, [(op, _id_of(raw), raw) for op, raw in _framed_rules(said[b"rule"])]


def _id_of(raw: bytes) -> bytes:
    try:
        return _id_decoder.decode(raw).id.encode()
    except msgspec.DecodeError as error:
        raise UnreadableRule("of a set", str(error)) from error


def _framed_rules(raw: bytes) -> Iterator[tuple[ChangeOp, bytes]]:
    """As rules_set.lua frames them."""
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4])
        yield ChangeOp.PUT if raw[at + 4 : at + 5] == b"p" else ChangeOp.REMOVE, raw[at + 5 : end]
        at = end


def leads_from(head: Head, row: tuple[bytes, Sequence[bytes]]) -> bool:
    """Whether a row of the stream is the change that made this head."""
    entry, fields = row
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    return entry == b"%d-0" % head.generation and said[b"change"].decode() == head.change


def session_state(name: str, raw: bytes) -> SessionState:
    generation, change, seq, dead, confirmed_at, about, metrics = _session_decoder.decode(raw)
    node, pid, roles = _about_decoder.decode(about)
    return SessionState(
        id=name,
        node=node,
        pid=pid,
        roles=roles,
        head=Head(generation, change),
        seq=seq,
        confirmed_at=confirmed_at,
        dead=dead,
        metrics=_metrics_decoder.decode(metrics),
    )
