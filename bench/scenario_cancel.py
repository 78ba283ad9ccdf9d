"""A cancel in the middle of a flow: the order that ends all that is left of it, and what got through afterwards."""

import datetime
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.flow import Flow, Load
from bench.plan import CAMPAIGN
from bench.processes import Node, RunVoid
from bench.progress import Say

_MILLISECOND = 0.001  # `effective_at` is given to one


class Order(NamedTuple):
    """The forced error, as it was answered; times in Unix seconds."""

    sent_at: float
    answered_at: float
    effective_at: float
    past_dot: frozenset[int]  # numbers of the recipients whose delivery could not be stopped any more


def cancel(flow: Flow, node: Node, load: Load, share: float, say: Say) -> Order:
    """Orders it once that share of the mail was received. Raises RunVoid unless it is effective when answered."""
    flow.until_received(round(load.messages * load.recipients * share))
    flow.canceled()
    sent_at = time.time()
    order = {"code": 554, "extended": "5.7.1", "description": "canceled by the sender", "tag": CAMPAIGN}
    status, rule = node.call("POST", "/v1/errors", order)
    answered_at = time.time()
    if status not in (201, 202) or not rule.get("effective_at"):
        raise RunVoid(f"the order was answered with {status} {rule}")
    effective_at = datetime.datetime.fromisoformat(rule["effective_at"]).timestamp()
    say(f"canceled: effective after {(effective_at - sent_at) * 1000:.0f} ms, {len(rule['past_dot'])} past their dot")
    past_dot = frozenset(int(entry["recipient"].partition("@")[0].removeprefix("u")) for entry in rule["past_dot"])
    return Order(sent_at, answered_at, effective_at, past_dot)


def account(order: Order, receipts: Sequence[float], found: dict[str, Any], recipients: int) -> dict[str, Any]:
    """The figures of the order. Raises RunVoid when something arrived that it does not list."""
    after = {number for number, moment in enumerate(receipts) if moment > order.effective_at + _MILLISECOND}
    listed = {number // recipients for number in order.past_dot}
    if unlisted := after - listed:
        raise RunVoid(f"{len(unlisted)} messages were received after {order.effective_at:.3f} and are not in past_dot")
    return {
        "effective_ms": round((order.effective_at - order.sent_at) * 1000, 1),
        "answer_ms": round((order.answered_at - order.sent_at) * 1000, 1),
        "delivered": found["statement"]["delivered"],
        "intercepted": found["statement"]["intercepted"],
        "past_dot": len(order.past_dot),
        "received_after": len(after),
        "received_after_unlisted": len(unlisted),
    }
