"""The rule table in `{rules}`, its changes, and the effects of these."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from mta.model.actor import FAILOVER, NOBODY, Actor
from mta.model.errors import BadValue, OldReaders, StoreError, UnreadableRule
from mta.model.rule_events import effective_event
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
from mta.redis_store.rule_reading import change_rows, whole_table
from mta.redis_store.rule_records import (
    Seen,
    change_parts,
    identity_of,
    in_place_of,
    order_of,
    read_changes,
    read_rule,
    written,
)
from mta.redis_store.session import StoreSession
from mta.redis_store.session_store import StoredSessions
from mta.timing.clock import wall_ms

log = logging.getLogger(__name__)

_TRIES: Final = 50  # of a change while others change the same rule
_AT_ONCE: Final = 1000  # rules that one step reads: a larger table is read in pages
_PAGE: Final = 100  # changes that are read at a time: each may be of hundreds of rules
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
        head, table = await whole_table(self._link)
        rules: list[Rule] = []
        unreadable: dict[str, UnreadableRule] = {}
        for at, (rule_id, raw) in enumerate(table.items()):
            if at and at % _AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                rules.append(read_rule(raw, rule_id.decode()))
            except UnreadableRule as error:
                unreadable[error.rule] = error
        return head, tuple(rules), unreadable

    async def head(self) -> Head:
        generation, change = await self._link.command("HMGET", keys.RULES_HEAD, "generation", "change")
        return Head(int(generation or 0), (change or b"").decode())

    async def changes(self, since: Head) -> tuple[Change, ...]:
        rows = await change_rows(self._link, since, _PAGE)
        try:
            return tuple(chain.from_iterable(read_changes(generation, fields) for generation, fields in rows))
        except UnreadableRule:
            return ()

    async def knows(self, head: Head) -> bool:
        entry = f"{head.generation}-0"
        rows = await self._link.command("XRANGE", keys.RULES_CHANGES, entry, entry)
        return bool(rows) and rule_records.leads_from(head, rows[0])

    async def ids_of(self, rules: Sequence[Rule]) -> list[str]:
        found: list[str] = []
        for at in range(0, len(rules), _AT_ONCE):
            identities = [identity_of(rule) for rule in rules[at : at + _AT_ONCE]]
            answer = await self._link.command("HMGET", keys.RULES_IDS, *identities)
            found += [(raw or b"").decode() for raw in answer]
        return found

    async def rule(self, rule_id: str) -> Rule | None:
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return read_rule(raw, rule_id) if raw else None

    async def standing(self, set_id: str, rule_ids: Sequence[str]) -> list[Rule]:
        found: list[Rule] = []
        for at in range(0, len(rule_ids), _AT_ONCE):
            some = rule_ids[at : at + _AT_ONCE]
            answer = await self._link.command("HMGET", keys.RULES_TABLE, *some)
            found += [read_rule(raw, name) for name, raw in zip(some, answer, strict=True) if raw]
        return [rule for rule in found if rule.set_id == set_id]

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

    async def put(self, rule: Rule, change: str, by: Actor = NOBODY) -> tuple[Put, frozenset[str]]:
        for _ in range(_TRIES):
            known_id = await self._link.command("HGET", keys.RULES_IDS, identity_of(rule))
            seen = await self._seen(known_id.decode()) if known_id else None
            written = rule if seen is None else in_place_of(seen.rule, rule, by)
            await self.must_be_read(written)
            done = await self._change(ChangeOp.PUT, change, seen, written, by)
            if done is not None:
                return Put(done.rule, done.head, seen is None, seen.rule.generation if seen else 0), done.wait_set
        raise StoreError(_TOO_FAST)

    async def edit(
        self, rule_id: str, edit: Edit, change: str, by: Actor = NOBODY
    ) -> tuple[Put, frozenset[str]] | None:
        for _ in range(_TRIES):
            seen = await self._seen(rule_id)
            if seen is None:
                return None
            known = seen.rule
            edited = msgspec.structs.replace(edit(known), selectors=known.selectors, set_id="")
            written = in_place_of(known, edited, by)
            identity = identity_of(written)
            if identity != identity_of(known):
                other = await self._link.command("HGET", keys.RULES_IDS, identity)
                if other:
                    raise Exists(other.decode())
            await self.must_be_read(written)
            done = await self._change(ChangeOp.PUT, change, seen, written, by)
            if done is not None:
                return Put(done.rule, done.head, False, known.generation), done.wait_set
        raise StoreError(_TOO_FAST)

    async def remove(
        self, rule_id: str, change: str, by: Actor = NOBODY, kind: Kind | None = None
    ) -> tuple[Removed, frozenset[str]] | None:
        for _ in range(_TRIES):
            seen = await self._seen(rule_id)
            if seen is None or kind not in (None, seen.rule.kind):
                return None
            done = await self._change(ChangeOp.REMOVE, change, seen, seen.rule, by)
            if done is not None:
                return Removed(seen.rule, done.head), done.wait_set
        raise StoreError(_TOO_FAST)

    async def canary(self, change: str) -> tuple[Head, frozenset[str]]:
        step_keys = [keys.RULES_HEAD, keys.RULES_CHANGES, keys.RULES_SESSIONS]
        args: list[bytes | str | int] = [ChangeOp.CANARY, change, codec.encode(Rule("", Selectors())), wall_ms()]
        answer = await self._link.call_kept(b"rules_canary", step_keys, args)
        return Head(int(answer[0]), change), frozenset(name.decode() for name in answer[1])

    async def _change(self, op: ChangeOp, change: str, seen: Seen | None, rule: Rule, by: Actor) -> "_Done | None":
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
            keys.RULES_COMPLETED,
            keys.RULES_EVENTS,
        ]
        order = order_of(seen)
        step_keys += [keys.set_key(order)] if order not in ("", rule.id) else []
        at = wall_ms()
        args: list[bytes | str | int] = [op, change, rule.id, *written(seen, rule), by.author, at]
        before = None if seen is None else seen.rule
        args += (self._max_rules, self._retention_ms, *change_parts(op, rule, before, by, at), order)
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

    async def _seen(self, rule_id: str) -> Seen | None:
        raw = await self._link.command("HGET", keys.RULES_TABLE, rule_id)
        return Seen(raw, read_rule(raw, rule_id)) if raw else None

    async def must_be_read(self, rule: Rule) -> None:
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
        step_keys = [keys.RULES_HEAD, keys.RULES_TABLE, keys.RULES_IDS, keys.RULES_CHANGES, keys.RULES_EVENTS]
        step_keys += [keys.past_key(rule.id) for rule in rules]
        step_keys += [keys.set_key(set_id) for set_id in {rule.set_id for rule in rules} - {""}]
        args: list[bytes | str | int] = [lost.generation, secrets.token_hex(8), int(last), at := wall_ms()]
        for rule in rules:
            seen = await self._seen(rule.id)
            known = stored.get(rule.id)
            if (seen.rule if seen is not None else None) != known:
                return False
            parts = change_parts(ChangeOp.PUT, rule, known, FAILOVER, at)
            args += (ChangeOp.PUT, rule.id, *written(seen, rule), rule.generation, *parts, rule.set_id)
        if last:
            words = f"changes up to generation {lost.generation} were lost; those that were known are in force again"
            told = Rule("", Selectors(), reason=words)
            parts = change_parts(ChangeOp.REGAIN, told, None, FAILOVER, at)
            args += (ChangeOp.REGAIN, "", *written(None, told), 0, *parts, "")
        return bool(await self._link.call_kept(b"rules_regain", step_keys, args))

    # Effects

    async def save_effect(self, effect: Effective, rule: Rule, removed: bool = False) -> None:
        remembered = keys.set_key if effect.rule == rule.set_id else keys.removed_key
        step_keys = [keys.RULES_HEAD, keys.RULES_EFFECTS, remembered(effect.rule), keys.RULES_EVENTS]
        event = codec.encode(effective_event(rule, effect, removed))
        args: list[bytes | str | int] = [effect.rule, effect.generation, codec.encode(effect), event, int(removed)]
        await self._link.call(b"save_effect", step_keys, args)

    async def effects(self, order_ids: Sequence[str]) -> dict[str, Effective]:
        values: list[bytes | None] = []
        for at in range(0, len(order_ids), _AT_ONCE):
            values += await self._link.command("HMGET", keys.RULES_EFFECTS, *order_ids[at : at + _AT_ONCE])
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
        def raise_in(lane: int) -> Awaitable[Any]:
            return self._link.call_kept(b"barrier", [keys.lane_key(lane, b"lane")], [generation])

        await each_lane(range(self._lanes), raise_in)


class _Done(NamedTuple):
    """A change that was made."""

    rule: Rule
    head: Head
    wait_set: frozenset[str]
