"""The rule table, its audit, and the sessions that confirm it."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from mta.model.errors import BadValue, SessionLost, StoreError
from mta.model.ids import MessageId
from mta.model.rules import Change, ChangeOp, Effective, Head, Kind, PastDot, Rule, Selectors, SessionState
from mta.ports.rules import Confirmed, Edit, Exists, Put, Removed, Step, Trail
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.redis_store.session import Session
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_rule_decoder = msgspec.msgpack.Decoder(Rule)
_effect_decoder = msgspec.msgpack.Decoder(Effective)
_past_decoder = msgspec.msgpack.Decoder(PastDot)
_about_decoder = msgspec.json.Decoder(tuple[str, int, tuple[str, ...]])
_session_decoder = msgspec.msgpack.Decoder(tuple[int, str, int, bool, int, str, str])
_metrics_decoder = msgspec.json.Decoder(dict[str, float])
_TRIES: Final = 50  # of a change while others change the same rule
_MOST_CHANGES: Final = 1000  # more than these, and the whole table costs less
_TOO_FAST: Final = "others keep changing this rule: try again"


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
            answer = await self._link.call_kept(b"fg1_rules_confirm", step_keys, step_args)
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
        generation, change, answer = await self._link.call(b"fg1_rules_load", [keys.RULES_HEAD, keys.RULES_TABLE], [])
        rules = (_readable(raw, name.decode()) for name, raw in zip(answer[::2], answer[1::2], strict=True))
        return Head(int(generation), change.decode()), tuple(rule for rule in rules if rule is not None)

    async def head(self) -> Head:
        generation, change = await self._link.command("HMGET", keys.RULES_HEAD, "generation", "change")
        return Head(int(generation or 0), (change or b"").decode())

    async def changes(self, since: Head) -> tuple[Change, ...]:
        words = (f"{since.generation}-0", "+", "COUNT", _MOST_CHANGES + 1)
        rows = await self._link.command("XRANGE", keys.RULES_CHANGES, *words)
        if not rows or len(rows) > _MOST_CHANGES or not _leads_from(since, rows[0]):
            return ()
        changes = [_change(int(entry.partition(b"-")[0]), fields) for entry, fields in rows[1:]]
        return tuple(change for change in changes if change is not None)

    async def knows(self, head: Head) -> bool:
        entry = f"{head.generation}-0"
        rows = await self._link.command("XRANGE", keys.RULES_CHANGES, entry, entry)
        return bool(rows) and _leads_from(head, rows[0])

    async def rule(self, rule_id: str) -> Rule | None:
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return _readable(raw, rule_id) if raw else None

    async def put(self, rule: Rule, change: str) -> tuple[Put, frozenset[str]]:
        for _ in range(_TRIES):
            known_id = await self._link.command("HGET", keys.RULES_IDS, _identity(rule))
            seen = await self._seen(known_id.decode()) if known_id else None
            written = rule
            if seen is not None:
                known = seen.rule
                written = msgspec.structs.replace(
                    rule, id=known.id, created_at=known.created_at, created_by=known.created_by
                )
            done = await self._change(ChangeOp.PUT, change, seen, written, rule.created_by)
            if done is not None:
                return Put(done.rule, done.head, seen is None, seen.rule.generation if seen else 0), done.wait_set
        raise StoreError(_TOO_FAST)

    async def edit(self, rule_id: str, edit: Edit, change: str, by: str = "") -> tuple[Put, frozenset[str]] | None:
        for _ in range(_TRIES):
            seen = await self._seen(rule_id)
            if seen is None:
                return None
            known = seen.rule
            written = msgspec.structs.replace(
                edit(known),
                id=known.id,
                selectors=known.selectors,
                created_at=known.created_at,
                created_by=known.created_by,
            )
            identity = _identity(written)
            if identity != _identity(known):
                other = await self._link.command("HGET", keys.RULES_IDS, identity)
                if other:
                    raise Exists(other.decode())
            done = await self._change(ChangeOp.PUT, change, seen, written, by)
            if done is not None:
                return Put(done.rule, done.head, False, known.generation), done.wait_set
        raise StoreError(_TOO_FAST)

    async def remove(
        self, rule_id: str, change: str, by: str = "", kind: Kind | None = None
    ) -> tuple[Removed, frozenset[str]] | None:
        for _ in range(_TRIES):
            seen = await self._seen(rule_id)
            if seen is None or kind not in (None, seen.rule.kind):
                return None
            done = await self._change(ChangeOp.REMOVE, change, seen, seen.rule, by)
            if done is not None:
                return Removed(seen.rule, done.head), done.wait_set
        raise StoreError(_TOO_FAST)

    async def _change(self, op: ChangeOp, change: str, seen: "_Seen | None", rule: Rule, by: str) -> "_Done | None":
        """The store gives the generation: writers wait for each other only over the same rule. None: it has changed
        since it was seen. Raises BadValue: there is no room for another rule."""
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
        at = wall_ms()
        args: list[bytes | str | int] = [op, change, rule.id, *_written(seen, rule), by, at, self._max_rules]
        answer = await self._link.call_kept(b"fg1_rules_change", step_keys, args)
        if answer is None:
            return None
        if answer == -1:
            raise BadValue("rules.max_rules", f"there are {self._max_rules} rules already: remove some, or raise it")
        generation = int(answer[0])
        wait_set = frozenset(name.decode() for name in answer[1])
        return _Done(msgspec.structs.replace(rule, generation=generation), Head(generation, change), wait_set)

    async def _seen(self, rule_id: str) -> "_Seen | None":
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return _Seen(raw, _rule_decoder.decode(raw)) if raw else None

    # After a failover

    async def trail(self, since: int) -> Trail:
        answer = await self._link.call(b"fg1_rules_trail", [keys.RULES_HEAD, keys.RULES_CHANGES], [since])
        rows = zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
        return Trail(
            tuple(Step(Head(int(generation), change.decode()), int(was)) for generation, change, was in rows),
            int(answer[0]),
        )

    async def regain(self, lost: Head, rules: Sequence[Rule], stored: Mapping[str, Rule], last: bool) -> bool:
        step_keys = [keys.RULES_HEAD, keys.RULES_TABLE, keys.RULES_IDS, keys.RULES_CHANGES]
        step_keys += [keys.past_key(rule.id) for rule in rules]
        args: list[bytes | str | int] = [lost.generation, secrets.token_hex(8), int(last), wall_ms()]
        for rule in rules:
            seen = await self._seen(rule.id)
            known = stored.get(rule.id)
            if (seen.rule if seen is not None else None) != known:
                return False
            was = rule.generation
            args += (ChangeOp.PUT, rule.id, *_written(seen, rule), was)
        if last:
            words = f"changes up to generation {lost.generation} were lost; what was known of them is in force again"
            args += (ChangeOp.REGAIN, "", *_written(None, Rule("", Selectors(), reason=words)), 0)
        return bool(await self._link.call_kept(b"fg1_rules_regain", step_keys, args))

    # Effects

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


class _Seen(NamedTuple):
    """A rule as it stood in the store."""

    raw: bytes
    rule: Rule


class _Done(NamedTuple):
    """A change that was made."""

    rule: Rule
    head: Head
    wait_set: frozenset[str]


def _written(seen: _Seen | None, rule: Rule) -> tuple[bytes, bytes, bytes, bytes]:
    """What a step needs to write the rule: as it was seen, its identity then, the one it is to have, the rule."""
    identity = _identity(rule)
    raw, old = (b"", identity) if seen is None else (seen.raw, _identity(seen.rule))
    return raw, old, identity, codec.encode(msgspec.structs.replace(rule, generation=0))


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


def _leads_from(head: Head, row: tuple[bytes, Sequence[bytes]]) -> bool:
    """Whether a row of the stream is the change that made this head."""
    entry, fields = row
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    return entry == b"%d-0" % head.generation and said[b"change"].decode() == head.change


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
