"""The parts of the process that takes mail over HTTP, which are not HTTP."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from mta.admission.at_acceptance import AcceptanceRules
from mta.admission.calls import ClientCalls
from mta.admission.group_commit import GroupCommit
from mta.admission.key_memory import KeyMemory
from mta.admission.keyed_calls import KeyedCalls
from mta.admission.making import MessageMaker
from mta.model import process_metrics as told
from mta.model.errors import StoreError
from mta.ports.access import Tokens
from mta.ports.admission import Calls
from mta.ports.audit import Audit
from mta.ports.templates import TemplateStore
from mta.ports.tracking import TrackingKeys
from mta.redis_store.api_tokens import StoredTokens
from mta.redis_store.audit import StoredAudit
from mta.redis_store.call_keys import StoredCallKeys
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.queues import Queues
from mta.redis_store.template_store import StoredTemplates
from mta.redis_store.tracking_store import StoredTrackingKey
from mta.rules.guard import Guard
from mta.runtime.child import Child
from mta.runtime.figures import Figures
from mta.runtime.intake_watch import IntakeWatch, intake_figures
from mta.runtime.room import Room
from mta.runtime.store_probe import StoreProbe
from mta.runtime.wiring.deciders import Suppressions, other_deciders, suppressions_of
from mta.runtime.wiring.opening import OpenStore, open_store
from mta.runtime.wiring.queues import stored_content, stored_queues
from mta.runtime.wiring.rules import stored_rules
from mta.runtime.wiring.secrets import cluster_sealer
from mta.runtime.wiring.signing import Signing, open_signing
from mta.runtime.wiring.sites import site_table
from mta.timing.loop_watch import LoopWatch


class InjectParts(NamedTuple):
    """Nothing of it is started."""

    calls: Calls
    tokens: Tokens
    templates: TemplateStore
    tracking_keys: TrackingKeys
    audit: Audit
    admission: GroupCommit
    guard: Guard
    signing: Signing | None  # None: this node signs no mail
    watch: IntakeWatch
    suppressions: Suppressions
    queues: Queues
    store: OpenStore
    loop_watch: LoopWatch

    async def start(self, child: Child) -> list[asyncio.Task[None]]:
        """Return once mail may come; the tasks are to be cancelled at the end."""
        child.essential(self.guard.start())
        child.essential(self.store.link.listen())
        await child.unless_stopped(self.guard.ready())
        watchers = [child.essential(asyncio.create_task(self.watch.run(), name="store watch"))]
        suppressions = self.suppressions.watch
        watchers.append(child.essential(asyncio.create_task(suppressions.run(), name="suppressions")))
        await child.unless_stopped(suppressions.ready())
        if self.signing is not None:
            watchers.append(child.essential(asyncio.create_task(self.signing.ring.run(), name="DKIM keys")))
            await child.unless_stopped(self.signing.ring.ready())  # else mail would leave unsigned
        self.loop_watch.start()
        return watchers

    async def stop(self) -> None:
        """Once no call comes any more."""
        await self.admission.close()
        await self.watch.close()
        if self.signing is not None:
            self.signing.beside.close()
        if self.queues.has_accepted:
            with contextlib.suppress(StoreError):
                await self.queues.farewell()
        self.loop_watch.stop()
        await self.guard.stop()

    async def close(self) -> None:
        await self.store.close()


async def open_inject(child: Child, calls: Callable[[], int]) -> InjectParts:
    """`calls` gives the number of calls under way. Raises SettingsError."""
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "inject", ("inject",), child.stopping)
    figures = Figures()
    guard = Guard(
        stored_rules(store, settings),
        settings.node.name,
        metrics=figures,
        protected=settings.rules.protected_tags,
        sites=site_table(settings).of_domain,
    )
    content = stored_content(store, settings)
    queues = stored_queues(store, settings, content)
    room, suppressions = Room(settings), suppressions_of(store.link)
    figures.join(suppressions.metrics)
    admission = GroupCommit(
        queues,
        settings.smtp.commit_delay,
        AcceptanceRules(guard, settings.node.name, settings.rules.undo_window).decide,
        others=other_deciders(store.link, guard, suppressions, settings.node.name),
        clients=calls,
        has_room=room.takes,
    )
    signing = open_signing(settings, store)
    maker = MessageMaker(settings, lambda: guard.table.tenants)
    memory = KeyMemory(MeasuredLoad(store.link, store.lanes), settings.messages.idempotency_memory)
    keys = StoredCallKeys(store.link, store.session, store.lanes)
    keyed = KeyedCalls(keys, store.lanes, settings.messages.idempotency_window, memory.has_room)
    signer = None if signing is None else signing.signer
    taking = ClientCalls(maker, admission, keyed, signer, content=content)
    figures.join(lambda: intake_figures(admission) | {told.REPLAYED.key: keyed.replayed})
    loop_watch = LoopWatch()
    figures.join(lambda: {told.LOOP_HOLDS.key: loop_watch.holds, told.LOOP_LONGEST.key: loop_watch.longest})
    if signing is not None:
        figures.join(signing.signer.metrics)
    watch = IntakeWatch(admission, StoreProbe(store.link), room, memory)
    tracking = StoredTrackingKey(store.link, cluster_sealer(store, settings))
    return InjectParts(
        taking, StoredTokens(store.link), StoredTemplates(store.link), tracking, StoredAudit(store.link), admission,
        guard, signing, watch, suppressions, queues, store, loop_watch,
    )  # fmt: skip
