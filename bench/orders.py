"""The scenario `orders`: how long from an order over REST until it is effective everywhere, idle and under load.

The load is a relay over SMTP, or with `--inject` mail over HTTP.
"""

import argparse
import asyncio
import datetime
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.call_flow import CallFlow
from bench.command import positive
from bench.flow import Flow, Load, calibrate
from bench.machine import sync_latency
from bench.processes import Node, RunVoid
from bench.progress import Say
from bench.ranks import percentiles, shown
from bench.report import process_table
from bench.rest import Answer, Rest
from bench.rig import directory, running
from bench.scenario import Figure, Run, Scenario, calibration_options, load_of, load_options

_BEFORE = 5.0  # seconds
_SETTLE = 2.0


class Given(NamedTuple):
    """One order, and its removal."""

    put: Answer
    removal: Answer


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--orders", type=positive, default=500, help="orders one after the other, in each phase")
    parser.add_argument("--bounded", action="store_true", help="orders with max_matches: hold first, count, then end")
    parser.add_argument("--inject", action="store_true", help="the mail beside comes over HTTP, a message a call")
    calibration_options(parser)
    load_options(parser)


def _load(given: argparse.Namespace) -> Load:
    load = load_of(given, given.calibrate)
    if given.inject:
        load.settings.append("api.inject_listen=127.0.0.1:0")
    return load


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    return _beside_calls(load, given, root, say) if given.inject else _beside_relay(load, given, root, say)


def _beside_calls(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    with directory(root) as place:
        disk = sync_latency(place)
        with running(place, load, say) as (node, sink):
            say(f"{load.messages:,} calls as fast as they are answered")
            with CallFlow(node, sink, load) as flow:
                most = flow.end()
            say(f"{given.orders} orders on the idle node")
            idle = account(asyncio.run(_give(node, given, "idle", say)))
            rate = most["rate"] * given.share
            say(f"{given.orders} orders beside {rate:,.0f} calls/s")
            with CallFlow(node, sink, load, rate) as flow:
                time.sleep(_SETTLE)
                before = flow.mark()
                time.sleep(_BEFORE)
                start = flow.mark()
                loaded = account(asyncio.run(_give(node, given, "loaded", say)))
                kept = start.rate_until(flow.mark())
                result = flow.end()
    return result | {
        "maximum": most["rate"],
        "asked_rate": round(rate, 1),
        "rate_before": before.rate_until(start),
        "rate_during": kept,
        "idle": idle,
        "loaded": loaded,
        "fdatasync_ms": disk,
    }


def _beside_relay(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    with directory(root) as place:
        disk = sync_latency(place)
        with running(place, load, say) as (node, sink):
            most = calibrate(node, sink, load, place, say)
            say(f"{given.orders} orders on the idle node")
            idle = account(asyncio.run(_give(node, given, "idle", say)))
            rate = most["rate"] * given.share
            say(f"{given.orders} orders beside {rate:,.0f} messages/s")
            with Flow(node, sink, load, place, say, rate=rate, endless=True) as flow:
                flow.settle()
                before = flow.window(_BEFORE)
                start = flow.mark()
                loaded = account(asyncio.run(_give(node, given, "loaded", say)))
                kept = start.rate_until(flow.mark())
                result = flow.end()
    return result | {
        "maximum": most["rate"],
        "asked_rate": round(rate, 1),
        "rate_before": before,
        "rate_during": kept,
        "idle": idle,
        "loaded": loaded,
        "fdatasync_ms": disk,
    }


async def _give(node: Node, given: argparse.Namespace, phase: str, say: Say) -> list[Given]:
    """Orders that match nothing, each removed again, one after the other."""
    found: list[Given] = []
    orders: int = given.orders
    bound = {"max_matches": 0} if given.bounded else {}
    told = max(orders // 5, 1)
    async with Rest(node.api, node.token, 1) as rest:
        for number in range(orders):
            rule = {"code": 554, "extended": "5.7.1", "tag": f"nobody_{phase}_{number}"} | bound
            put = await rest.call("POST", "/v1/errors", rule)
            if put.status not in (201, 202):
                raise RunVoid(f"order {number} was answered with {put.status} {put.body}")
            removal = await rest.call("DELETE", f"/v1/errors/{put.body['id']}")
            if removal.status not in (200, 202):
                raise RunVoid(f"the removal of order {number} was answered with {removal.status} {removal.body}")
            found.append(Given(put, removal))
            if (number + 1) % told == 0:
                say(f"{number + 1} of {orders} orders")
    return found


def account(orders: Sequence[Given]) -> dict[str, Any]:
    """The figures of a phase, times in ms; an order that was not effective at its answer has no effective time."""
    puts = [order.put for order in orders]
    late = [moment - put.sent_at for put in puts if (moment := _moment(put.body.get("effective_at"))) is not None]
    bounded_orders = [(put, put.body.get("bound", {})) for put in puts]
    held = [
        moment - put.sent_at for put, bound in bounded_orders if (moment := _moment(bound.get("held_at"))) is not None
    ]
    return {
        "orders": len(orders),
        "statuses": dict(Counter(str(put.status) for put in puts)),
        "accepted_only": sum(put.status == 202 for put in puts),
        "removals_accepted_only": sum(order.removal.status == 202 for order in orders),
        "answer_ms": percentiles([put.seconds for put in puts], 1000.0),
        "effective_ms": percentiles(late, 1000.0),
        "held_ms": percentiles(held, 1000.0),
        "removal_ms": percentiles([order.removal.seconds for order in orders], 1000.0),
    }


def _moment(text: str | None) -> float | None:
    """Unix seconds."""
    return datetime.datetime.fromisoformat(text).timestamp() if text else None


_FIGURES = {
    "loaded_p99": Figure(
        "order to effective under load, p99, ms", lambda run: run["loaded"]["effective_ms"].get("p99")
    ),
    "loaded_p50": Figure("the same, p50", lambda run: run["loaded"]["effective_ms"].get("p50")),
    "loaded_max": Figure("the same, largest", lambda run: run["loaded"]["effective_ms"].get("max")),
    "loaded_answer": Figure("order to answer under load, p99, ms", lambda run: run["loaded"]["answer_ms"]["p99"]),
    "loaded_202": Figure("orders under load answered 202", lambda run: run["loaded"]["accepted_only"]),
    "loaded_removal": Figure("removal to answer under load, p99, ms", lambda run: run["loaded"]["removal_ms"]["p99"]),
    "idle_p99": Figure("order to effective, idle, p99, ms", lambda run: run["idle"]["effective_ms"].get("p99")),
    "idle_answer": Figure("order to answer, idle, p99, ms", lambda run: run["idle"]["answer_ms"]["p99"]),
    "idle_202": Figure("orders answered 202, idle", lambda run: run["idle"]["accepted_only"]),
    "maximum": Figure("maximum rate of the same run, messages/s", lambda run: run["maximum"]),
    "asked": Figure("rate asked for beside the orders, messages/s", lambda run: run["asked_rate"]),
    "during": Figure("rate received while the orders came, messages/s", lambda run: run["rate_during"]),
}


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    bound = "and `max_matches`" if options.get("bounded") else ""
    over_http = "takes over HTTP, in the process of their own listener and one a call, and delivers messages of"
    work = over_http if options.get("inject") else "relays messages of"
    return f"""
    {options["orders"]} forced errors by a tag that no mail has (`POST /v1/errors` with the node's own `api.wait`
    {bound}), one after the other over one kept connection, each removed before the next; first on the idle node, then
    while it {work} {load["size"]:,} bytes at {options["share"]:.0%} of the rate that {load["messages"]:,}
    messages reached in the same run just before. Times run from the sending of the request: to its answer on the
    client's clock, and to the `effective_at` of the answer (the same machine's wall clock, to the millisecond). An
    order answered 202 counts as such and has no effective time. A run is void when an order fails, or the mail beside
    it was not accepted, received, logged and accounted for to the last message."""


def _lines(run: Run) -> list[str]:
    lines = [
        f"- maximum {run['maximum']:,} messages/s; {run['asked_rate']:,} asked for; {run['rate_before']:,} just before "
        f"the orders, {run['rate_during']:,} while they came"
    ]
    for phase in ("idle", "loaded"):
        of = run[phase]
        lines += [
            f"- {phase}: {of['orders']} orders, {of['accepted_only']} answered 202, "
            f"{of['removals_accepted_only']} removals answered 202",
            f"- {phase}, order to effective, ms: {shown(of['effective_ms'])}",
            *([f"- {phase}, order to hold, ms: {shown(of['held_ms'])}"] if of.get("held_ms") else []),
            f"- {phase}, order to answer, ms: {shown(of['answer_ms'])}",
            f"- {phase}, removal to answer, ms: {shown(of['removal_ms'])}",
        ]
    if "handover_to_receipt_ms" in run:
        lines.append(f"- hand-over to receipt beside the orders, ms: {shown(run['handover_to_receipt_ms'])}")
    else:
        lines.append(f"- calls beside the orders, ms: {shown(run['call_ms'])}")
    return [*lines, *process_table(run["processes"], run["messages"], "messages")]


SCENARIO = Scenario(
    name="orders",
    about="Order to effective: forced errors one after the other, on an idle node and beside a steady relay.",
    takes="5 minutes",
    repeat=1,
    options=_options,
    load=_load,
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
