"""Rules, changes of them and sessions as the store writes them down."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mta.model.errors import UnreadableRule
from mta.model.rules import Build, Change, ChangeOp, Effective, Head, Kind, PastDot, Rule, SessionState, newest_format
from mta.model.sweeps import SweepState
from mta.redis_store import library

_rule_decoder: Final = msgspec.msgpack.Decoder(Rule)
effect_decoder: Final = msgspec.msgpack.Decoder(Effective)
sweep_decoder: Final = msgspec.msgpack.Decoder(SweepState)
past_decoder: Final = msgspec.msgpack.Decoder(PastDot)
_about_decoder: Final = msgspec.json.Decoder(tuple[str, int, tuple[str, ...]])
_session_decoder: Final = msgspec.msgpack.Decoder(tuple[int, str, int, bool, int, str, str])
build_decoder: Final = msgspec.json.Decoder(Build)
_metrics_decoder: Final = msgspec.json.Decoder(dict[str, float])


def identity_of(rule: Rule) -> bytes:
    """A rule is its kind and its whole selector set."""
    selectors = msgspec.json.encode(rule.selectors)
    return selectors if rule.kind is Kind.ERROR else rule.kind.encode() + b" " + selectors


def read_rule(raw: bytes, rule_id: str) -> Rule:
    """Raises UnreadableRule."""
    try:
        return _rule_decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise UnreadableRule(rule_id, str(error)) from error


def this_build(unreadable: str = "") -> bytes:
    """This one, as the store knows it."""
    return msgspec.json.encode(Build(library.NAME, newest_format(), unreadable))


def read_change(generation: int, fields: Sequence[bytes]) -> Change:
    """Raises UnreadableRule."""
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    rule = read_rule(said[b"rule"], said[b"id"].decode())
    return Change(Head(generation, said[b"change"].decode()), ChangeOp(said[b"op"].decode()), rule)


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
