"""The metrics of webhook endpoints, as the processes that serve them have told."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from control_api.webhooks.standing import State, state_of
from mta.ports.webhooks import EndpointOrders

_BY: Final = ("webhook",)


async def webhook_families(webhooks: EndpointOrders, now: int) -> Iterable[Metric]:
    """`now` is Unix ms."""
    endpoints = {endpoint.id: endpoint for endpoint in await webhooks.all()}
    figures = await webhooks.figures() if endpoints else {}
    told = {name: one for name, one in figures.items() if name in endpoints}
    states = Counter(state_of(endpoint, told.get(name), now)[0] for name, endpoint in endpoints.items())
    by_state = GaugeMetricFamily("floodgate_webhooks", "Webhook endpoints by state.", labels=("state",))
    backlog = GaugeMetricFamily("floodgate_webhook_backlog", "Events that an endpoint was not told yet.", labels=_BY)
    words = "Age of the oldest event that an endpoint was not told yet."
    oldest = GaugeMetricFamily("floodgate_webhook_oldest_seconds", words, labels=_BY)
    failures = GaugeMetricFamily("floodgate_webhook_failures", "Requests in a row that failed.", labels=_BY)
    words = "Events that an endpoint has taken, since its process serves it."
    sent = CounterMetricFamily("floodgate_webhook_events_sent", words, labels=_BY)
    words = "Events that an endpoint is not told: its retries are over, or history has dropped them."
    missed = CounterMetricFamily("floodgate_webhook_events_missed", words, labels=("webhook", "why"))
    for state in get_args(State):
        by_state.add_metric((state,), states[state])
    for name, one in sorted(told.items()):
        backlog.add_metric((name,), one.backlog)
        oldest.add_metric((name,), max(0, now - one.oldest) / 1000 if one.oldest else 0.0)
        failures.add_metric((name,), one.failures)
        sent.add_metric((name,), one.sent)
        missed.add_metric((name, "given_up"), one.given_up)
        missed.add_metric((name, "history"), one.lost)
    return by_state, backlog, oldest, failures, sent, missed
