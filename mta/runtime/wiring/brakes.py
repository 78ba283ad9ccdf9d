"""The parts of a worker that follow brakes and pull them."""

import os
from typing import NamedTuple, Protocol

from mta.brakes.alerts import MailedAlerts
from mta.brakes.puller import BrakePuller
from mta.brakes.watch import BrakeWatch
from mta.model.settings import Settings
from mta.orders.order_book import OrderBook
from mta.ports.admission import Submissions
from mta.redis_store.audit import StoredAudit
from mta.redis_store.brake_store import StoredBrakes
from mta.redis_store.link import Link
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.sweep_store import StoredSweeps
from mta.rules.guard import Guard


class BrakeParts(NamedTuple):
    """Nothing of it is started."""

    watch: BrakeWatch
    puller: BrakePuller


class Store(Protocol):
    """The adapters that the puller needs."""

    link: Link
    rules: StoredRules
    sweeps: StoredSweeps
    brakes: StoredBrakes


def brake_puller(
    store: Store, watch: BrakeWatch, guard: Guard, submissions: Submissions, settings: Settings
) -> BrakePuller:
    """`submissions` takes the mail of alerts."""
    node = settings.node.name
    return BrakePuller(
        store.brakes,
        watch,
        guard,
        store.rules,
        OrderBook(store.rules, store.sweeps),
        StoredAudit(store.link),
        MailedAlerts(submissions, settings.alerts.to, node, settings.smtp.hostname or node),
        f"{node}/{os.getpid()}",
    )
