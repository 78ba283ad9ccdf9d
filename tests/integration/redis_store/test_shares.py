"""Mail with a tenant or a priority waits in shares of its queue: every step that moves mail finds it there and keeps it
there, and the checker agrees after each."""

import pytest

from mta.model.actor import Actor
from mta.model.ids import delivery_id
from mta.model.mail import QueueKey, QueueShare, tenants_tag
from mta.model.outcomes import Class
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import UNDECIDED, ClaimRequest, Move, Settled, Settlement
from mta.ports.sweeps import SweepMove
from mta.ports.undo import Reinstatement
from mta.redis_store import keys
from mta.sweeps.sweep_moves import Decider
from mta.timing.clock import wall_ms
from tests.support.stores import DOMAIN, POOL, QUEUE, message

SHARES = ["acme", ".2", "acme.1"]
FIELDS = {"acme": {"tenant": "acme"}, ".2": {"priority": 2}, "acme.1": {"tenant": "acme", "priority": 1}}
EMPTY = {"queued": 0, "held": 0, "parked": 0}


async def claim(store, share, most=100):
    return await store.queues.claim(0, [ClaimRequest(QUEUE, most, share)], 1 << 20)


async def sound(store, checker, **classes):
    """The report is clean, and what waits is counted for the tag, and for its tenant where it has one."""
    report = await checker(store).report()
    assert report.broken == []
    assert report.balanced
    for name, count in classes.items():
        assert report.recounted.get("red", EMPTY).get(name, 0) == count, (name, report.recounted)


@pytest.fixture(params=SHARES)
async def one(request, open_store):
    """A store with one message that waits in a share, and the share."""
    store = await open_store()
    await store.rules.register() if hasattr(store.rules, "register") else None
    sent = message(0, **FIELDS[request.param])
    await store.queues.accept(0, [sent])
    return store, request.param, sent


async def due_in(store, share):
    return [one.share for one in await store.queues.agenda(0, [POOL], 10) if one.queue == QUEUE] == [share]
