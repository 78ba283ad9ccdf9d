"""Metrics of the whole cluster in Prometheus's text format; each process tells its figures with its confirmations.

A process is gone from here when its session is: its counters end with it, and none begins anew under its name, since
each is labelled with node, role and pid.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from control_api import dependencies
from control_api.dependencies import Dependencies
from control_api.http.operation import Answer, Example, Opening, Operation
from control_api.http.query import read_no_query
from control_api.http.times import now_ms
from control_api.node.unserved_pools import waiting_pools
from control_api.node.webhook_metrics import webhook_families
from control_api.pool_depths import Measured, named
from control_api.pools.in_force import pools_in_force
from mta.model.canaries import CanaryFlight
from mta.model.outcomes import Class
from mta.model.process_metrics import PROCESS_METRICS
from mta.model.rules import Head, SessionState
from mta.model.scopes import Scope
from mta.model.sweeps import SweepPhase, SweepState
from mta.ports.orders import OrderFigures

PATH = "/metrics"

_PROCESS = ("node", "role", "pid")
_DROPPED = "Opens and clicks of the cluster that were dropped while the store was away."
_EMPTIED = "1 from the moment at which the store was found emptied until an operator has acknowledged it."


Values = Iterable[tuple[tuple[str, ...], float]]  # values of the labels, and the figure


async def show(request: web.Request) -> web.Response:
    """All metrics, as text."""
    read_no_query(request)
    registry = CollectorRegistry()
    registry.register(_Families(await _families(dependencies.of(request))))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


class _Families(Collector):
    """The metrics of one answer, as they were read from the store."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _families(deps: Dependencies) -> list[Metric]:
    head = await deps.rules.head()
    processes = _living(await deps.rules.sessions())
    told: dict[tuple[str, ...], Mapping[str, float]] = {name: state.metrics for name, state in processes.items()}
    for journal in await deps.journals.journals():
        told[journal.node, "journal", str(journal.pid)] = journal.metrics
    sweeps = await deps.sweeps.sweeps()
    backlogs = [((str(lane),), await deps.load.backlog(lane)) for lane in range(deps.sweeps.lanes)]
    return [
        *_of_processes(told),
        *_of_rules(head, processes),
        *_of_canary(await deps.canaries.last()),
        *_of_orders(deps.orders.figures(), (deps.node, "api", str(os.getpid()))),
        *_of_sweeps(sweeps),
        *_of_books(await deps.books.total()),
        _gauge("store_emptied", _EMPTIED, (), [((), float(bool(await deps.fate.emptied_at())))]),
        _of_unserved(await waiting_pools(deps)),
        *_of_depths(await deps.depths.latest(), await pools_in_force(deps)),
        *await webhook_families(deps.webhooks, now_ms()),
        _counter("engagement_dropped", _DROPPED, (), [((), await deps.engagement.dropped())]),
        *_of_keys(await deps.load.key_bytes(), deps.idempotency_memory),
        _gauge("journal_backlog", "Event entries that no journal has in its spool yet.", ("lane",), backlogs),
    ]


def _of_depths(measured: Measured | None, configured: Collection[str]) -> Iterable[Metric]:
    """Pools of the settings and the deepest others have figures of their own: clients may name any IP address."""
    found = {} if measured is None else named(measured.depths, configured)
    now = now_ms()
    states = [
        ((pool, state), float(getattr(depth, state)))
        for pool, depth in found.items()
        for state in ("due", "scheduled", "claimed", "held")
    ]
    words = "Deliveries that wait, by pool and state; 20 pools have a name."
    yield _gauge("queue_deliveries", words, ("pool", "state"), states)
    ages = [((pool,), max(0, now - depth.oldest) / 1000) for pool, depth in found.items() if depth.oldest]
    yield _gauge("queue_oldest_seconds", "Time since the oldest delivery of a pool was accepted.", ("pool",), ages)
    age = [] if measured is None else [((), measured.age)]
    yield _gauge("queue_measured_age_seconds", "Time since the queues were measured for these figures.", (), age)


def _of_keys(kept: int, limit: int) -> Iterable[Metric]:
    yield _gauge("idempotency_bytes", "Memory of the store that idempotency keys take.", (), [((), kept)])
    words = "Memory that they may take: messages.idempotency_memory of the node that answers."
    yield _gauge("idempotency_bytes_limit", words, (), [((), limit)])


def _of_unserved(pools: Mapping[str, int]) -> Metric:
    """The oldest pools only: clients may name any IP address."""
    now = now_ms()
    ages = [((pool,), max(0, now - at) / 1000) for pool, at in pools.items()]
    words = "How long the earliest mail of a pool that no worker serves has been due; the 20 oldest pools."
    return _gauge("unserved_oldest_seconds", words, ("pool",), ages)


def _living(sessions: Mapping[str, SessionState]) -> dict[tuple[str, ...], SessionState]:
    """By labels; a process that was given up for dead and went on has one session that lives."""
    return {
        (state.node, "+".join(state.roles), str(state.pid)): state
        for state in sorted(sessions.values(), key=lambda state: state.confirmed_at)
        if not state.dead
    }


def _gauge(name: str, words: str, labels: Sequence[str], values: Values) -> Metric:
    return _filled(GaugeMetricFamily(f"floodgate_{name}", words, labels=labels), values)


def _counter(name: str, words: str, labels: Sequence[str], values: Values) -> Metric:
    return _filled(CounterMetricFamily(f"floodgate_{name}", words, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _of_processes(processes: Mapping[tuple[str, ...], Mapping[str, float]]) -> Iterable[Metric]:
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {metric.key: [] for metric in PROCESS_METRICS}
    for process, figures in processes.items():
        for key, figure in sorted(figures.items()):
            name, colon, value = key.partition(":")
            if name in found:  # a process of another release may tell more
                found[name].append(((*process, *(value.split("|") if colon else ())), figure))
    for metric in PROCESS_METRICS:
        labels = (*_PROCESS, *metric.labels)
        fitting = [sample for sample in found[metric.key] if len(sample[0]) == len(labels)]
        yield (_counter if metric.is_counter else _gauge)(metric.name, metric.help, labels, fitting)


def _of_rules(head: Head, processes: Mapping[tuple[str, ...], SessionState]) -> Iterable[Metric]:
    now = now_ms()
    confirmed = [(process, state.head.generation) for process, state in processes.items()]
    lags = [(process, max(0, head.generation - generation)) for process, generation in confirmed]
    ages = [
        (process, max(0, now - state.confirmed_at) / 1000) for process, state in processes.items() if state.confirmed_at
    ]
    yield _gauge("rules_generation", "Generation of the rule table.", (), [((), head.generation)])
    words = "Generation of the rule table that the process acts upon."
    yield _gauge("rules_generation_confirmed", words, _PROCESS, confirmed)
    yield _gauge("rules_generation_lag", "Generations that the process has not confirmed yet.", _PROCESS, lags)
    words = "Time since the process confirmed its rule table, by the store's clock."
    yield _gauge("rules_confirmation_age_seconds", words, _PROCESS, ages)


def _of_orders(figures: OrderFigures, me: tuple[str, ...]) -> Iterable[Metric]:
    """Of this API process alone: no other knows how long its orders took."""
    words = "Time from an order that this API process took to the moment at which it was effective everywhere."
    seconds = HistogramMetricFamily("floodgate_order_effective_seconds", words, labels=_PROCESS)
    buckets = [(str(bound), float(count)) for bound, count in figures.within]
    total = figures.in_time + figures.by_time
    seconds.add_metric(me, [*buckets, ("+Inf", float(total))], figures.seconds)
    yield seconds
    by = [((*me, "confirmed"), figures.in_time), ((*me, "time_alone"), figures.by_time)]
    words = "Orders that became effective, by what made them so: confirmations, or for some process the time alone."
    yield _counter("orders_effective", words, (*_PROCESS, "by"), by)
    words = "Orders that are not known to be effective yet."
    yield _gauge("orders_pending", words, _PROCESS, [(me, figures.pending)])


def _of_canary(flight: CanaryFlight | None) -> Iterable[Metric]:
    """The last of the cluster, which every node shows."""
    seconds, ages, silent = (
        ([], [], [])
        if flight is None
        else (
            [((), flight.seconds)],
            [((), max(0, now_ms() - flight.at) / 1000)],
            [((), float(len(flight.unconfirmed)))],
        )
    )
    words = "Time until the last canary order, which matches nothing, was effective everywhere; one a minute."
    yield _gauge("canary_effective_seconds", words, (), seconds)
    yield _gauge("canary_unconfirmed", "Processes that did not confirm the last canary order.", (), silent)
    yield _gauge("canary_age_seconds", "Time since the last canary order was given.", (), ages)


def _of_sweeps(sweeps: Mapping[str, SweepState]) -> Iterable[Metric]:
    """A rule is named only while it is swept: 10,000 may have been swept before."""
    states = Counter(sweep.phase.value for sweep in sweeps.values())
    under_way = {
        rule: sweep for rule, sweep in sweeps.items() if sweep.phase in (SweepPhase.RUNNING, SweepPhase.WAITING)
    }
    seen = [((rule,), sweep.seen) for rule, sweep in under_way.items()]
    matched = [((rule,), sweep.matched) for rule, sweep in under_way.items()]
    by_state = [((state,), count) for state, count in states.items()]
    yield _gauge("sweeps", "Rules by the state of their sweep.", ("state",), by_state)
    yield _gauge("sweep_seen", "Deliveries that a sweep under way has looked at.", ("rule",), seen)
    yield _gauge("sweep_matched", "Deliveries that a sweep under way has taken.", ("rule",), matched)


def _of_books(counts: Mapping[str, int]) -> Iterable[Metric]:
    """The classes add up to what was accepted."""
    by_class = Counter[str]()
    for field, count in counts.items():
        by_class[field.partition(":")[0]] += count
    words = "Deliveries that the cluster ever accepted."
    yield _counter("books_accepted", words, (), [((), counts.get("accepted", 0))])
    words = "Deliveries of the cluster by class; an outcome that comes late moves a delivery to another class."
    yield _gauge("books_deliveries", words, ("class",), [((name.value,), by_class[name.value]) for name in Class])


SHOW = Operation(
    "GET",
    PATH,
    show,
    "metrics",
    "Metrics of the cluster, in Prometheus's text format",
    (Answer(200, {"type": "string"}, "metrics", media="text/plain"),),
    Example(PATH),
    scope=Scope.METRICS_READ,
    description="Without a token where the API listens on loopback and api.metrics_open is set.",
    refusals=(403,),
    opening=Opening.METRICS,
)
