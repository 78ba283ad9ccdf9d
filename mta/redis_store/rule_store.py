"""The rule table, its audit, and the sessions that confirm it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from mta.model.errors import BadValue, SessionLost, StoreError
from mta.model.ids import MessageId
from mta.model.rules import Change, ChangeOp, Effective, Head, Kind, PastDot, Rule, SessionState
from mta.ports.rules import Confirmed, Edit, Exists, Put, Removed
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.redis_store.session import Session

log = logging.getLogger(__name__)

_rule_decoder = msgspec.msgpack.Decoder(Rule)
_effect_decoder = msgspec.msgpack.Decoder(Effective)
_past_decoder = msgspec.msgpack.Decoder(PastDot)
_about_decoder = msgspec.json.Decoder(tuple[str, int, tuple[str, ...]])
_session_decoder = msgspec.msgpack.Decoder(tuple[int, str, int, bool, int, str, str])
_metrics_decoder = msgspec.json.Decoder(dict[str, float])
_TRIES: Final = 50  # of a change while others change the table too


class StoredRules:
    """Fulfils ports.rules.RuleStore for one session."""

    def __init__(self, link: Link, session: Session, lanes: int, max_staleness: float, max_rules: int) -> None:
        self._link = link
        self._session = session
        self._lanes = lanes
        self._max_staleness = max_staleness
        self._max_rules = max_rules
        self._heard = b""  # the last cancellation that this session was told of, b"" = it has not confirmed yet

    @property
    def session(self) -> str:
        return self._session.id

    def renew(self) -> str:
        """Go on under a new session, after the old one was given up for dead."""
        self._heard = b""
        return self._session.renew()

    async def max_staleness(self) -> float:
        return self._max_staleness

    def on_published(self, hint: Callable[[], None]) -> None:
        self._link.hear(keys.HEAD_CHANNEL, lambda _: hint())
        self._link.on_reconnect(hint)

    # Confirming

    async def confirm(
        self, seq: int, head: Head, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> Confirmed:
        session, heard = self._session, self._heard
        canceled: list[MessageId] = []
        while True:
            step_keys, step_args = self._confirm_step(seq, head, heard, past_dot, metrics)
            answer = await self._link.call(b"fg1_rules_confirm", step_keys, step_args)
            if answer[0] == b"LOST":
                raise SessionLost(session.id)
            if answer[0] not in (b"OK", b"MORE"):
                break
            heard = answer[1]
            canceled += map(MessageId, answer[2])
            if answer[0] == b"OK":
                self._heard = heard
                return Confirmed(True, head, canceled=tuple(canceled))
        told = Head(int(answer[1]), answer[2].decode())
        if answer[0] == b"RELOAD":
            return Confirmed(False, told, reload=True)
        first = head.generation + 1
        changes = [_change(first + at, fields) for at, fields in enumerate(answer[3])]
        return Confirmed(False, told, tuple(change for change in changes if change is not None))

    def _confirm_step(
        self, seq: int, head: Head, heard: bytes, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> tuple[list[bytes], list[bytes | str | int]]:
        session = self._session
        # JSON: Lua packs strings as text, and text must be UTF-8.
        about = msgspec.json.encode((session.node, session.pid, session.roles))
        step_keys = [keys.RULES_HEAD, keys.RULES_SESSIONS, keys.RULES_CHANGES, keys.RULES_CANCELS]
        step_keys += sorted({keys.past_key(entry.rule) for entry in past_dot})
        args: list[bytes | str | int] = [
            session.id,
            seq,
            head.generation,
            head.change,
            about,
            msgspec.json.encode(metrics),
            heard,
        ]
        for entry in past_dot:
            args += (entry.rule, entry.id, codec.encode(msgspec.structs.replace(entry, session=session.id)))
        return step_keys, args

    async def leave(self) -> None:
        await self._link.command("HDEL", keys.RULES_SESSIONS, self._session.id)

    async def sessions(self) -> dict[str, SessionState]:
        answer = await self._link.command("HGETALL", keys.RULES_SESSIONS)
        return {
            name.decode(): _session(name.decode(), raw) for name, raw in zip(answer[::2], answer[1::2], strict=True)
        }

    async def mark_dead(self, session: str, seq: int | None) -> bool:
        args = [session, "" if seq is None else seq]
        return bool(await self._link.call(b"fg1_session_dead", [keys.RULES_HEAD, keys.RULES_SESSIONS], args))

    async def forget(self, session: str) -> None:
        await self._link.command("HDEL", keys.RULES_SESSIONS, session)

    # The table

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        """Read until the head is the same before and after."""
        while True:
            before = await self.head()
            answer = await self._link.command("HGETALL", keys.RULES_TABLE)
            if await self.head() == before:
                rules = (_readable(raw, name.decode()) for name, raw in zip(answer[::2], answer[1::2], strict=True))
                return before, tuple(rule for rule in rules if rule is not None)

    async def head(self) -> Head:
        generation, change = await self._link.command("HMGET", keys.RULES_HEAD, "generation", "change")
        return Head(int(generation or 0), (change or b"").decode())

    async def put(self, rule: Rule, change: str) -> tuple[Put, frozenset[str]]:
        selectors = _identity(rule)
        for _ in range(_TRIES):
            head = await self.head()
            known_id = await self._link.command("HGET", keys.RULES_IDS, selectors)
            known = await self._rule(known_id.decode()) if known_id else None
            if known is None and await self._link.command("HLEN", keys.RULES_TABLE) >= self._max_rules:
                raise BadValue(
                    "rules.max_rules", f"there are {self._max_rules} rules already: remove some, or raise it"
                )
            written = msgspec.structs.replace(
                rule,
                id=known.id if known else rule.id,
                created_at=known.created_at if known else rule.created_at,
                created_by=known.created_by if known else rule.created_by,
                generation=head.generation + 1,
            )
            wait_set = await self._change(ChangeOp.PUT, head, change, written, selectors, rule.created_by)
            if wait_set is not None:
                return Put(written, Head(head.generation + 1, change), known is None), wait_set
        raise StoreError("the rule table changes too fast: try again")

    async def edit(self, rule_id: str, edit: Edit, change: str, by: str = "") -> tuple[Put, frozenset[str]] | None:
        for _ in range(_TRIES):
            head = await self.head()
            known = await self._rule(rule_id)
            if known is None:
                return None
            edited = edit(known)
            written = msgspec.structs.replace(
                edited,
                id=known.id,
                selectors=known.selectors,
                created_at=known.created_at,
                created_by=known.created_by,
                generation=head.generation + 1,
            )
            identity, was = _identity(written), _identity(known)
            if identity != was:
                other = await self._link.command("HGET", keys.RULES_IDS, identity)
                if other:
                    raise Exists(other.decode())
            wait_set = await self._change(ChangeOp.PUT, head, change, written, identity, by, was)
            if wait_set is not None:
                return Put(written, Head(head.generation + 1, change), False), wait_set
        raise StoreError("the rule table changes too fast: try again")

    async def remove(self, rule_id: str, change: str, by: str = "") -> tuple[Removed, frozenset[str]] | None:
        for _ in range(_TRIES):
            head = await self.head()
            rule = await self._rule(rule_id)
            if rule is None:
                return None
            wait_set = await self._change(ChangeOp.REMOVE, head, change, rule, _identity(rule), by)
            if wait_set is not None:
                return Removed(rule, Head(head.generation + 1, change)), wait_set
        raise StoreError("the rule table changes too fast: try again")

    async def _change(
        self, op: ChangeOp, head: Head, change: str, rule: Rule, identity: bytes, by: str, was: bytes = b""
    ) -> frozenset[str] | None:
        """`was`: the identity that the rule had before. None: the head has moved meanwhile."""
        step_keys = [
            keys.RULES_HEAD,
            keys.RULES_TABLE,
            keys.RULES_IDS,
            keys.RULES_CHANGES,
            keys.RULES_SESSIONS,
            keys.past_key(rule.id),
            keys.RULES_EFFECTS,
            keys.RULES_SWEEPS,
        ]
        at = int(time.time() * 1000)
        args: list[bytes | str | int] = [
            op,
            head.generation,
            change,
            rule.id,
            identity,
            codec.encode(rule),
            by,
            at,
            was,
        ]
        answer = await self._link.call(b"fg1_rules_change", step_keys, args)
        return None if answer is None else frozenset(name.decode() for name in answer)

    async def _rule(self, rule_id: str) -> Rule | None:
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return _rule_decoder.decode(raw) if raw else None

    async def save_effect(self, effect: Effective) -> None:
        args: list[bytes | str | int] = [effect.rule, effect.generation, codec.encode(effect)]
        await self._link.call(b"fg1_save_effect", [keys.RULES_HEAD, keys.RULES_EFFECTS], args)

    async def effects(self, rule_ids: Sequence[str] | None = None) -> dict[str, Effective]:
        if rule_ids is None:
            answer = await self._link.command("HGETALL", keys.RULES_EFFECTS)
            values = answer[1::2]
        else:
            values = await self._link.command("HMGET", keys.RULES_EFFECTS, *rule_ids) if rule_ids else []
        found = (_effect_decoder.decode(raw.partition(b"|")[2]) for raw in values if raw)
        return {effect.rule: effect for effect in found}

    async def past_dot(self, rule_id: str) -> list[PastDot]:
        answer = await self._link.command("HGETALL", keys.past_key(rule_id))
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        entries = (
            (_past_decoder.decode(raw), fields.get(b"=" + name))
            for name, raw in fields.items()
            if not name.startswith(b"=")
        )
        return [msgspec.structs.replace(entry, settled_at=int(settled or 0)) for entry, settled in entries]

    async def raise_barrier(self, generation: int) -> None:
        anchors = [keys.lane_key(lane, b"lane") for lane in range(self._lanes)]
        await asyncio.gather(*(self._link.call(b"fg1_barrier", [anchor], [generation]) for anchor in anchors))


def _identity(rule: Rule) -> bytes:
    """A rule is its kind and its whole selector set."""
    selectors = msgspec.json.encode(rule.selectors)
    return selectors if rule.kind is Kind.ERROR else rule.kind.encode() + b" " + selectors


def _readable(raw: bytes, rule_id: str) -> Rule | None:
    """A malformed rule is skipped with an alarm and never stops a worker."""
    try:
        return _rule_decoder.decode(raw)
    except msgspec.DecodeError as error:
        log.error("rule %s in the store cannot be read and is not applied: %s", rule_id, error)
        return None


def _change(generation: int, fields: Sequence[bytes]) -> Change | None:
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    rule = _readable(said[b"rule"], said[b"id"].decode())
    head = Head(generation, said[b"change"].decode())
    return Change(head, ChangeOp(said[b"op"].decode()), rule) if rule is not None else None


def _session(name: str, raw: bytes) -> SessionState:
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
