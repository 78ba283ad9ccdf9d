"""The rule table in `{rules}`, its changes, and the effects of these."""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from mta.model.errors import BadValue, OldReaders, StoreError, UnreadableRule
from mta.model.rules import (
    FIRST_FORMAT,
    Build,
    Change,
    ChangeOp,
    Effective,
    Head,
    Kind,
    PastDot,
    Rule,
    Selectors,
    format_of,
)
from mta.ports.certainty import made_certain
from mta.ports.rule_store import Edit, Exists, Put, Removed, RemovedRule, Step, Trail
from mta.redis_store import codec, keys, rule_records
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.redis_store.rule_records import identity_of, leads_from, read_change, read_rule
from mta.redis_store.session import StoreSession
from mta.redis_store.session_store import StoredSessions
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_TRIES: Final = 50  # of a change while others change the same rule
_YIELD_EVERY: Final = 1000  # fields of a large table are decoded before the loop answers others
_MOST_CHANGES: Final = 1000  # more than these, and the whole table costs less
_TOO_FAST: Final = "others keep changing this rule: try again"


class StoredRules(StoredSessions):
    """Fulfils ports.rule_store.RuleStore for one session."""

    def __init__(
        self, link: Link, session: StoreSession, lanes: int, max_staleness: float, max_rules: int, retention: float
    ) -> None:
        """`retention` in seconds: how long the account of a removed rule can be read."""
        super().__init__(link, session, max_staleness)
        self._lanes = lanes
        self._max_rules = max_rules
        self._retention_ms = int(retention * 1000)

    # The table

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        head, rules, unreadable = await self.load_readable()
        for error in unreadable.values():
            raise error
        return head, rules

    async def load_readable(self) -> tuple[Head, tuple[Rule, ...], Mapping[str, UnreadableRule]]:
        generation, change, answer = await self._link.call(b"rules_load", [keys.RULES_HEAD, keys.RULES_TABLE], [])
        rules: list[Rule] = []
        unreadable: dict[str, UnreadableRule] = {}
        for at in range(0, len(answer), 2):
            if at and at % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            try:
                rules.append(read_rule(answer[at + 1], answer[at].decode()))
            except UnreadableRule as error:
                unreadable[error.rule] = error
        return Head(int(generation), change.decode()), tuple(rules), unreadable

    async def head(self) -> Head:
        generation, change = await self._link.command("HMGET", keys.RULES_HEAD, "generation", "change")
        return Head(int(generation or 0), (change or b"").decode())

    async def changes(self, since: Head) -> tuple[Change, ...]:
        words = (f"{since.generation}-0", "+", "COUNT", _MOST_CHANGES + 1)
        rows = await self._link.command("XRANGE", keys.RULES_CHANGES, *words)
        if not rows or len(rows) > _MOST_CHANGES or not leads_from(since, rows[0]):
            return ()
        try:
            return tuple(read_change(int(entry.partition(b"-")[0]), fields) for entry, fields in rows[1:])
        except UnreadableRule:
            return ()

    async def knows(self, head: Head) -> bool:
        entry = f"{head.generation}-0"
        rows = await self._link.command("XRANGE", keys.RULES_CHANGES, entry, entry)
        return bool(rows) and leads_from(head, rows[0])

    async def rule(self, rule_id: str) -> Rule | None:
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return read_rule(raw, rule_id) if raw else None

    async def removed(self, rule_id: str) -> RemovedRule | None:
        answer = await self._link.command("HGETALL", keys.removed_key(rule_id))
        said = dict(zip(answer[::2], answer[1::2], strict=True))
        if b"rule" not in said:
            return None
        effect, sweep = said.get(b"effects"), said.get(b"sweeps")
        return RemovedRule(
            read_rule(said[b"rule"], rule_id),
            int(said[b"at"]),
            None if effect is None else rule_records.effect_decoder.decode(effect.partition(b"|")[2]),
            None if sweep is None else rule_records.sweep_decoder.decode(sweep.split(b"|", 2)[2]),
        )

    async def put(self, rule: Rule, change: str) -> tuple[Put, frozenset[str]]:
        for _ in range(_TRIES):
            known_id = await self._link.command("HGET", keys.RULES_IDS, identity_of(rule))
            seen = await self._seen(known_id.decode()) if known_id else None
            written = rule
            if seen is not None:
                known = seen.rule
                written = msgspec.structs.replace(
                    rule, id=known.id, created_at=known.created_at, created_by=known.created_by
                )
            await self._must_be_read(written)
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
            identity = identity_of(written)
            if identity != identity_of(known):
                other = await self._link.command("HGET", keys.RULES_IDS, identity)
                if other:
                    raise Exists(other.decode())
            await self._must_be_read(written)
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
        since it was seen. Raises BadValue: there is no room for another rule; OutcomeUnknown."""
        step_keys = [
            keys.RULES_HEAD,
            keys.RULES_TABLE,
            keys.RULES_IDS,
            keys.RULES_CHANGES,
            keys.RULES_SESSIONS,
            keys.past_key(rule.id),
            keys.RULES_EFFECTS,
            keys.RULES_SWEEPS,
            keys.removed_key(rule.id),
        ]
        args: list[bytes | str | int] = [op, change, rule.id, *_written(seen, rule), by, wall_ms()]
        args += (self._max_rules, self._retention_ms)
        answer = await self._certain(step_keys, args)
        if answer is None:
            return None
        if answer == -1:
            raise BadValue("rules.max_rules", f"there are {self._max_rules} rules already: remove some, or raise it")
        generation = int(answer[0])
        wait_set = frozenset(name.decode() for name in answer[1])
        return _Done(msgspec.structs.replace(rule, generation=generation), Head(generation, change), wait_set)

    async def _certain(self, step_keys: list[bytes], args: list[bytes | str | int]) -> Any:
        """A lost answer denies nothing: the change id tells whether the change was made."""
        ask = partial(self._link.call_kept, b"rules_change", step_keys, args)
        again = partial(self._link.call_kept, b"rules_change_once", step_keys, args)
        return await made_certain(ask, again, self._link.timeout)

    async def _seen(self, rule_id: str) -> "_Seen | None":
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return _Seen(raw, read_rule(raw, rule_id)) if raw else None

    async def _must_be_read(self, rule: Rule) -> None:
        """By every living process. One that comes later and cannot read it confirms nothing. Raises OldReaders."""
        needed = format_of(rule)
        if needed == FIRST_FORMAT:
            return
        builds = await self.builds()
        living = (state for state in (await self.sessions()).values() if not state.dead)
        old = sorted(state.name for state in living if builds.get(state.id, Build()).rule_format < needed)
        if old:
            raise OldReaders(old)

    # After a failover

    async def trail(self, since: int) -> Trail:
        answer = await self._link.call(b"rules_trail", [keys.RULES_HEAD, keys.RULES_CHANGES], [since])
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
        return bool(await self._link.call_kept(b"rules_regain", step_keys, args))

    # Effects

    async def save_effect(self, effect: Effective) -> None:
        args: list[bytes | str | int] = [effect.rule, effect.generation, codec.encode(effect)]
        await self._link.call(b"save_effect", [keys.RULES_HEAD, keys.RULES_EFFECTS], args)

    async def effects(self, rule_ids: Sequence[str] | None = None) -> dict[str, Effective]:
        if rule_ids is None:
            answer = await self._link.command("HGETALL", keys.RULES_EFFECTS)
            values = answer[1::2]
        else:
            values = await self._link.command("HMGET", keys.RULES_EFFECTS, *rule_ids) if rule_ids else []
        found = (rule_records.effect_decoder.decode(raw.partition(b"|")[2]) for raw in values if raw)
        return {effect.rule: effect for effect in found}

    async def past_dot(self, rule_id: str) -> list[PastDot]:
        answer = await self._link.command("HGETALL", keys.past_key(rule_id))
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        entries = (
            (rule_records.past_decoder.decode(raw), fields.get(b"=" + name))
            for name, raw in fields.items()
            if not name.startswith(b"=")
        )
        return [msgspec.structs.replace(entry, settled_at=int(settled or 0)) for entry, settled in entries]

    async def raise_barrier(self, generation: int) -> None:
        async def raise_in(lane: int) -> None:
            await self._link.call(b"barrier", [keys.lane_key(lane, b"lane")], [generation])

        await each_lane(range(self._lanes), raise_in)


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
    identity = identity_of(rule)
    raw, old = (b"", identity) if seen is None else (seen.raw, identity_of(seen.rule))
    return raw, old, identity, codec.encode(msgspec.structs.replace(rule, generation=0))
