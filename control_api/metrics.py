"""Metrics of the whole cluster in Prometheus's text format, made of what each process tells with its confirmations.

A process is gone from here when its session is: its counters end with it, and none begins anew under its name, since
each is labelled with node, role and pid.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from control_api import dependencies
from control_api.dependencies import Dependencies
from control_api.query import read_query
from control_api.times import now_ms
from control_api.unserved_pools import waiting_pools
from mta.model.outcomes import Class
from mta.model.rules import Head, SessionState
from mta.model.sweeps import SweepPhase, SweepState
from mta.ports.orders import OrderFigures

PATH = "/metrics"

_PROCESS = ("node", "role", "pid")
_EMPTIED = "1 from the moment at which the store was found emptied until an operator has acknowledged it."


class Told(NamedTuple):
    """A figure of a process: `key` in its snapshot, before a colon where the value of `label` follows; `name` here."""

    key: str
    name: str
    help: str
    label: str = ""
    counts: bool = True  # False: a gauge


TOLD = (
    Told("intake", "messages", "Messages at their end of data, by the answer.", "answer"),
    Told("accepted_deliveries", "deliveries_accepted", "Deliveries (one for each recipient) of accepted messages."),
    Told("accepted_bytes", "accepted_bytes", "Bytes of accepted messages."),
    Told("connections_in", "connections_in", "Client connections that are open.", counts=False),
    Told("claimed", "deliveries_claimed", "Deliveries that were claimed to be attempted."),
    Told("settled", "deliveries_settled", "Claimed deliveries by what became of them.", "outcome"),
    Told("stale", "settlements_stale", "Outcomes of deliveries that had been given to another process."),
    Told("connections_out", "connections_out", "Connections to destinations that are open.", counts=False),
    Told("permit_stops", "permit_stops", "Times that MAIL or a final dot had to wait for a permit.", "before"),
    Told("permit_aborts", "permit_aborts", "Final dots that waited for a permit in vain."),
    Told("escaped", "escaped_dots", "Final dots whose permit was gone when they had been written."),
    Told("reaped", "sessions_reaped", "Dead sessions whose claims were taken back."),
    Told("reclaimed", "deliveries_reclaimed", "Deliveries that were taken back from dead sessions."),
    Told("journal_dropped", "journal_dropped", 'Event entries dropped unread (journal.when_behind = "drop").'),
    Told("journal_undecodable", "journal_undecodable", "Events that could not be decoded; their lines show the bytes."),
    Told("journal_failures", "journal_failures", "Times that the store, the spool or the log could not be used."),
    Told("spool_bytes", "journal_spool_bytes", "Size of the journal's spool on the node's disk.", counts=False),
    Told("spool_damaged", "journal_spool_damaged", "Stretches of the spool that could not be read."),
)


Values = Iterable[tuple[tuple[str, ...], float]]  # values of the labels, and the figure


async def show(request: web.Request) -> web.Response:
    """GET /metrics."""
    read_query(request)
    registry = CollectorRegistry()
    registry.register(_Families(await _families(dependencies.of(request))))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


class _Families(Collector):
    """What was read of the store, for one answer."""

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
        *_of_orders(deps.orders.figures(), (deps.node, "api", str(os.getpid()))),
        *_of_sweeps(sweeps),
        *_of_books(await deps.books.total()),
        _gauge("store_emptied", _EMPTIED, (), [((), float(bool(await deps.fate.emptied_at())))]),
        _of_unserved(await waiting_pools(deps)),
        _gauge("journal_backlog", "Event entries that no journal has in its spool yet.", ("lane",), backlogs),
    ]


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
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {told.key: [] for told in TOLD}
    for process, metrics in processes.items():
        for key, figure in sorted(metrics.items()):
            name, colon, value = key.partition(":")
            if name in found:  # a process of another release may tell more
                found[name].append(((*process, value) if colon else process, figure))
    for told in TOLD:
        labels = (*_PROCESS, told.label) if told.label else _PROCESS
        yield (_counter if told.counts else _gauge)(told.name, told.help, labels, found[told.key])


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
    """Only the process that was asked knows how long its orders took."""
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


def _of_sweeps(sweeps: Mapping[str, SweepState]) -> Iterable[Metric]:
    """Rules are named while they are swept only: there may be 10,000 that were."""
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
