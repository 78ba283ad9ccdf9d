"""Orders for many rules at once: written in parts, each of them one step and one change of the rule table."""

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from mta.model.actor import NOBODY, Actor, ActorKind
from mta.model.errors import BadValue, StoreError
from mta.model.rules import NO_HEAD, ChangeOp, Effective, Head, Rule, RuleSet, SetMembers
from mta.ports.certainty import made_certain
from mta.ports.rule_sets import SetPlaced, StoredSet
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.redis_store.rule_records import (
    Seen,
    change_parts,
    effect_decoder,
    in_place_of,
    order_of,
    read_rule,
    sweep_decoder,
    written,
)
from mta.redis_store.rule_store import StoredRules
from mta.timing.clock import wall_ms

PART: Final = 200  # rules that one step writes
_TRIES: Final = 50

_about_decoder: Final = msgspec.msgpack.Decoder(RuleSet)
_members_decoder: Final = msgspec.msgpack.Decoder(tuple[list[str], list[str]])


class _Planned(NamedTuple):
    """One change of a part."""

    op: ChangeOp
    rule: Rule
    seen: Seen | None


class StoredRuleSets:
    """Fulfils ports.rule_sets.RuleSets."""

    def __init__(self, link: Link, rules: StoredRules, max_rules: int, retention: float) -> None:
        """`retention` in seconds: how long the account of a set without rules can be read."""
        self._link = link
        self._rules = rules
        self._max_rules = max_rules
        self._retention_ms = int(retention * 1000)

    async def put_set(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], by: Actor = NOBODY
    ) -> tuple[SetPlaced, frozenset[str]]:
        by = by if by.name else Actor(ActorKind.SYSTEM, about.created_by)
        rules = [msgspec.structs.replace(rule, set_id=about.id) for rule in rules]
        for rule in rules[:1]:
            await self._rules.must_be_read(rule)
        growth = sum(not known for known in await self._rules.ids_of(rules)) - len(remove)
        made: list[Rule] = []
        gone: list[Rule] = []
        before: list[int] = []
        head, wait_set = NO_HEAD, frozenset[str]()
        nothing: Sequence[str] = ()
        parts = [(rules[at : at + PART], nothing) for at in range(0, len(rules), PART)]
        parts += [([], remove[at : at + PART]) for at in range(0, len(remove), PART)]
        for at, (put, ids) in enumerate(parts, 1):
            done, head, wait_set = await self._part(about, put, ids, growth, by, at == len(parts))
            growth = 0
            for one in done:
                (made if one.op is ChangeOp.PUT else gone).append(one.rule)
            before += [0 if one.seen is None else one.seen.rule.generation for one in done if one.op is ChangeOp.PUT]
        return SetPlaced(head, tuple(made), tuple(before), tuple(gone)), wait_set

    async def _part(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], growth: int, by: Actor, last: bool
    ) -> tuple[list[_Planned], Head, frozenset[str]]:
        """The store gives the generation: writers wait for each other only over the same rules. Sessions are told of
        the last part at once, and of those before it then, too."""
        for _ in range(_TRIES):
            planned = await self._plan(rules, remove, by)
            change = secrets.token_hex(8)
            step_keys, args = self._step(about, planned, change, growth, by, last)
            ask = partial(self._link.call_kept, b"rules_set", step_keys, args)
            again = partial(self._link.call_kept, b"rules_set_once", step_keys, args)
            answer: Any = await made_certain(ask, again, self._link.timeout)
            if answer == -1:
                words = f"there is room for {self._max_rules} rules, and this order would make more; remove some, or "
                raise BadValue("rules.max_rules", words + "raise it")
            if answer is not None:
                generation, names = int(answer[0]), answer[1]
                done = [
                    one._replace(rule=msgspec.structs.replace(one.rule, generation=generation))
                    if one.op is ChangeOp.PUT
                    else one
                    for one in planned
                ]
                return done, Head(generation, change), frozenset(name.decode() for name in names)
        raise StoreError("others keep changing these rules: try again")

    async def _plan(self, rules: Sequence[Rule], remove: Sequence[str], by: Actor) -> list[_Planned]:
        known = await self._rules.ids_of(rules)
        seen = await self._seen([*filter(None, known), *remove])
        planned = []
        for rule, rule_id in zip(rules, known, strict=True):
            there = seen.get(rule_id)
            changed = rule if there is None else in_place_of(there.rule, rule, by)
            planned.append(_Planned(ChangeOp.PUT, changed, there))
        planned += [_Planned(ChangeOp.REMOVE, seen[one].rule, seen[one]) for one in remove if one in seen]
        return planned

    async def _seen(self, ids: Sequence[str]) -> dict[str, Seen]:
        if not ids:
            return {}
        answer = await self._link.command("HMGET", keys.RULES_TABLE, *ids)
        return {name: Seen(raw, read_rule(raw, name)) for name, raw in zip(ids, answer, strict=True) if raw}

    def _step(
        self, about: RuleSet, planned: Sequence[_Planned], change: str, growth: int, by: Actor, last: bool
    ) -> tuple[list[bytes], list[bytes | str | int]]:
        at = wall_ms()
        args: list[bytes | str | int] = [change, about.id, codec.encode(about), by.author, at]
        args += (self._max_rules, growth, self._retention_ms, int(last))
        touched: set[bytes] = set()
        for op, rule, seen in planned:
            order = order_of(seen)
            before = None if seen is None else seen.rule
            args += (op, rule.id, *written(seen, rule), order, *change_parts(op, rule, before, by, at))
            if seen is not None:
                touched |= {keys.past_key(rule.id), keys.removed_key(rule.id)}
                touched |= {keys.set_key(order)} if order != rule.id else set()
        step_keys = [
            keys.RULES_HEAD,
            keys.RULES_TABLE,
            keys.RULES_IDS,
            keys.RULES_CHANGES,
            keys.RULES_SESSIONS,
            keys.RULES_EFFECTS,
            keys.RULES_SWEEPS,
            keys.RULES_COMPLETED,
            keys.RULES_EVENTS,
            keys.RULES_PARTS,
            keys.set_key(about.id),
        ]
        return [*step_keys, *sorted(touched - {keys.set_key(about.id)})], args

    async def stored_set(self, set_id: str) -> StoredSet | None:
        answer = await self._link.command("HGETALL", keys.set_key(set_id))
        said = dict(zip(answer[::2], answer[1::2], strict=True))
        if b"about" not in said:
            return None
        parts = [_members_decoder.decode(said[name]) for name in sorted(filter(bytes.isdigit, said), key=int)]
        made, removed = (tuple(name for part in parts for name in part[at]) for at in (0, 1))
        return StoredSet(
            _about_decoder.decode(said[b"about"]),
            int(said[b"last"]),
            SetMembers(made, removed),
            max(0, int(said[b"rules"])),
            _outcome(said.get(b"effects")),
            None if b"sweeps" not in said else sweep_decoder.decode(said[b"sweeps"].split(b"|", 2)[2]),
        )


def _outcome(raw: bytes | None) -> Effective | None:
    return None if raw is None else effect_decoder.decode(raw.partition(b"|")[2])
