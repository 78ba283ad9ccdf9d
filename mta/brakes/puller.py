"""The puller: in one worker of the cluster at a time it looks at the counts of brakes, and makes their rules.

A pull is noted first. The id of its rule follows from the note, so that whoever carries it on makes the same rule. Once
the rule is not in force any more, the window of the tag begins anew.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from mta.brakes.watch import BrakeWatch
from mta.model.actor import Actor, ActorKind
from mta.model.audit import Deed
from mta.model.brakes import Brake, Pull
from mta.model.errors import BadValue, OldReaders, StoreError, UnreadableRule, severity
from mta.model.rules import Rule
from mta.policy.brakes import bucket_ms, counter_of, facts_of, is_beyond, percent, rule_of
from mta.policy.rule_effect import in_force
from mta.ports.audit import Audit
from mta.ports.brakes import Alerts, BrakeOrders, BrakeWork, RateKey
from mta.ports.rule_store import RuleStore
from mta.ports.rules import Rules
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 0.3  # seconds, of the process that leads
_IDLE: Final = 1.0  # seconds, of the others
_LEASE: Final = 2.0  # seconds
_RENEW: Final = 0.6
_WHOLE_EVERY: Final = 10.0
_TIDY_EVERY: Final = 60.0
_REMEMBERED_MS: Final = 7 * 86_400_000  # a pull whose rule is lifted


class BrakePuller:
    """Of each worker that delivers; one of them leads."""

    def __init__(
        self,
        store: BrakeWork,
        watch: BrakeWatch,
        table: Rules,
        rules: RuleStore,
        orders: BrakeOrders,
        audit: Audit,
        alerts: Alerts,
        owner: str,
        *,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`owner` names this process in the cluster; `now` gives seconds, `wall` Unix milliseconds."""
        self._store = store
        self._watch = watch
        self._table = table
        self._rules = rules
        self._orders = orders
        self._audit = audit
        self._alerts = alerts
        self._owner = owner
        self._now = now
        self._wall = wall
        self._leads = False
        self._leads_until = self._ask_at = self._tidy_at = self._whole_at = 0.0
        self._afresh = True  # others may have pulled brakes meanwhile
        self._pulls: dict[tuple[str, str, str], Pull] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except StoreError as error:
                    self._afresh = True
                    log.log(severity(error), "brakes are not looked at: %s", error)
                await asyncio.sleep(_LOOK_EVERY if self._leads else _IDLE)
        finally:
            await self._orders.stop()

    async def look(self) -> None:
        """Pull the brakes that are beyond their limits, if this process leads. Raises StoreError."""
        brakes = self._watch.brakes
        if not brakes:
            self._leads, self._afresh = False, True
            return
        if not await self._is_leader():
            return
        if self._afresh:
            await self._begin()
        touched = await self._touched()
        asked = [(key, bucket_ms(brakes[key[0]])) for key in touched if key[0] in brakes and not self._is_pulled(key)]
        for key, rate in (await self._store.rates(asked)).items() if asked else ():
            if is_beyond(brakes[key[0]], rate.hits, rate.counted):
                await self._note(brakes[key[0]], key, rate.hits, rate.counted)
        for pull in list(self._pulls.values()):
            brake = brakes.get(pull.brake)
            if brake is None:
                del self._pulls[pull.key]
            else:
                await self._carry_on(brake, pull)
        await self._tidy(max(brake.window for brake in brakes.values()))

    async def _touched(self) -> set[RateKey]:
        """The counters to look at. All of them are looked at now and then, in case the server's clock was set back."""
        every = self._afresh or self._now() >= self._whole_at
        found = await self._store.touched(every)
        self._afresh = False
        if every:
            self._whole_at = self._now() + _WHOLE_EVERY
        return found

    async def _is_leader(self) -> bool:
        now = self._now()
        if now >= self._ask_at:
            led = self._leads and now < self._leads_until
            self._leads = await self._store.lead(self._owner, _LEASE)
            self._afresh = self._afresh or not led
            self._leads_until, self._ask_at = now + _LEASE, now + (_RENEW if self._leads else _IDLE / 2)
        return self._leads and self._now() < self._leads_until

    async def _begin(self) -> None:
        """Know the pulls of others; orders that a dead process left behind are followed."""
        self._pulls = {pull.key: pull for pull in await self._store.pulls()}
        for pull in self._pulls.values():
            rule = self._table.table.rule(pull.rule) if pull.rule else None
            if rule is not None and not pull.lifted_at:
                await self._orders.effect(rule)

    async def _tidy(self, window: float) -> None:
        if self._now() >= self._tidy_at:
            self._tidy_at = self._now() + _TIDY_EVERY
            await self._store.forget_older(round(window * 1100))
            for pull in list(self._pulls.values()):
                if pull.lifted_at and self._wall() - pull.lifted_at > _REMEMBERED_MS:
                    await self._store.forget(pull)
                    del self._pulls[pull.key]

    def _is_pulled(self, key: RateKey) -> bool:
        brake, counter = key
        tag, _, tenant = counter.partition("\0")
        known = self._pulls.get((brake, tag, tenant))
        return known is not None and not known.lifted_at

    # A pull

    async def _note(self, brake: Brake, key: RateKey, hits: int, counted: int) -> None:
        tag, _, tenant = key[1].partition("\0")
        before = self._pulls.get((brake.id, tag, tenant))
        number = 1 if before is None else before.number + 1
        pull = await self._store.note(Pull(brake.id, tag, tenant, number, self._wall(), hits, counted))
        self._pulls[pull.key] = pull

    async def _carry_on(self, brake: Brake, pull: Pull) -> None:
        if pull.lifted_at:
            return
        if not pull.rule:
            pull = await self._make_rule(brake, pull)
        if pull.rule and not pull.told:
            pull = await self._tell(brake, pull)
        if pull.rule:
            await self._look_whether_lifted(pull)

    async def _make_rule(self, brake: Brake, pull: Pull) -> Pull:
        rule, actor = rule_of(brake, pull), Actor(ActorKind.SYSTEM, brake.author)
        words = f"tag {pull.tag}: {rule.reason}"
        deed = Deed("brake.pull", brake.id, after=facts_of(brake, pull), tenant=brake.tenant, reason=words)
        await self._audit.note(actor, deed)
        try:
            made = await self._standing(rule) or (await self._orders.put(rule, actor, 0.0, "effective")).rule
        except (BadValue, OldReaders, UnreadableRule) as refused:
            log.error("the brake %s cannot make its rule for tag %s: %s", brake.id, pull.tag, refused)
            return pull
        log.warning("the brake %s was pulled, %s: rule %s", brake.id, words, made.id)
        return await self._saved(replace(pull, rule=made.id, generation=made.generation))

    async def _standing(self, rule: Rule) -> Rule | None:
        """A rule in force that does the same, by whomever it was made. It stays as it is."""
        (known,) = await self._rules.ids_of([rule])
        found = await self._rules.rule(known) if known else None
        return found if found is not None and in_force(found, self._wall()) else None

    async def _tell(self, brake: Brake, pull: Pull) -> Pull:
        rule = rule_of(brake, pull)
        lines = (
            f"The brake {brake.id} was pulled for mail with the tag {pull.tag}.",
            f"{rule.reason}.",
            f"The rule {pull.rule} {'holds' if not rule.code else 'fails'} this mail now.",
            f"Its account: floodgate {'pauses show' if not rule.code else 'errors statement'} {pull.rule}",
            f"To let the mail go on: floodgate {'pauses' if not rule.code else 'errors'} remove {pull.rule}",
        )
        share = percent(pull.hits / pull.counted)
        if not await self._alerts.send(f"brake pulled: {pull.tag}, {brake.metric} {share}", lines):
            return pull
        return await self._saved(replace(pull, told=True))

    async def _look_whether_lifted(self, pull: Pull) -> None:
        table = self._table.table
        if table.head.generation < pull.generation:
            return
        rule = table.rule(pull.rule)
        if rule is not None and in_force(rule, self._wall()):
            return
        await self._store.clear((pull.brake, counter_of(pull.tag, pull.tenant)))
        await self._saved(replace(pull, lifted_at=self._wall()))
        log.info("the rule %s of the brake %s is lifted: its window begins anew", pull.rule, pull.brake)

    async def _saved(self, pull: Pull) -> Pull:
        await self._store.save(pull)
        self._pulls[pull.key] = pull
        return pull
