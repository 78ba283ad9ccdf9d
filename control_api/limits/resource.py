"""Limit orders over REST: limits of a site that hold on every node within two seconds."""

from typing import Any

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.queues.limits_in_use import go_by_orders
from control_api.schemas import limit_shapes as shapes
from control_api.schemas.answers import known
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.limit_orders import SLOW_START, LimitOrder
from mta.policy.limit_orders import ordered


async def put_limit(request: web.Request) -> web.Response:
    """201: there was no order of a person for this part of the site."""
    read_no_query(request)
    body = shapes.LIMIT_ORDER
    given = body.read(await read_fields(request, body.lists()), "a field of a limit order")
    deps, actor, now = dependencies.of(request), actor_of(request), now_ms()
    order = _order(given, now, actor.author)
    before: list[LimitOrder] = []

    def edit(was: LimitOrder | None) -> LimitOrder:
        before[:] = [] if was is None else [was]
        return order

    await deps.audit.note(actor, Deed("limits.put", order.id, after=msgspec.to_builtins(order), reason=order.reason))
    await deps.limit_orders.edit(order.id, edit)
    return json_response(shown_order(order, now), 200 if before else 201)


def _order(given: dict[str, Any], now: int, by: str) -> LimitOrder:
    """Raises BadValue."""
    if given.get("pool") and given.get("ip"):
        raise BadValue("ip", "cannot stand beside pool; leave one of them out")
    values = "closed", "connections", "connections_per_minute", "messages_per_minute", "messages_per_connection"
    if not any(given.get(name) for name in values):
        raise BadValue("connections", f"the order has no limit; give one of {', '.join(values)}")
    seconds = given.pop("duration", None)
    fields = {name: value for name, value in given.items() if value is not None}
    return LimitOrder(since=now, until=now + round(seconds * 1000) if seconds else 0, by=by, **fields)


async def list_limits(request: web.Request) -> web.Response:
    """Those of people and of reactions."""
    asked, now = read_query(request, shapes.OrdersQuery), now_ms()
    orders = await go_by_orders(dependencies.of(request), now)
    found = [
        shown_order(order, now)
        for order in sorted(orders.values(), key=lambda order: (order.site, order.pool, order.ip, order.reaction))
        if asked.site in (None, order.site) and ordered(order, now) is not None
    ]
    return json_response(shapes.LimitOrders(orders=found))


async def delete_limit(request: web.Request) -> web.Response:
    """200 with the order as it was."""
    read_no_query(request)
    name = shapes.ORDER_ID.read(request.match_info["id"], "id")
    deps, now = dependencies.of(request), now_ms()
    order = (await go_by_orders(deps, now)).get(name)
    if order is None:
        raise Problem(404, f"there is no limit order {name}; GET /v1/limits/orders lists them")
    await deps.audit.note(actor_of(request), Deed("limits.remove", name, before=msgspec.to_builtins(order)))
    if not await deps.limit_orders.remove(order):
        raise Problem(409, f"the limit order {name} was changed meanwhile; look at it again")
    return json_response(shown_order(order, now))


async def list_reactions(request: web.Request) -> web.Response:
    """Reactions and what they do now."""
    read_no_query(request)
    deps, now = dependencies.of(request), now_ms()
    orders = await go_by_orders(deps, now)
    answer = shapes.Reactions(
        reactions=[
            shapes.Reaction(
                name=one.name,
                site=one.site,
                code=list(one.code),
                enhanced=one.enhanced,
                text=one.text,
                threshold=one.threshold,
                action=one.action,
                value=one.value,
                for_=one.for_,
                scope=one.scope,
                enabled=one.enabled,
            )
            for one in deps.reactions
        ],
        orders=[
            shown_order(order, now)
            for order in sorted(orders.values(), key=lambda order: (order.site, order.reaction))
            if order.reaction not in ("", SLOW_START) and ordered(order, now) is not None
        ],
    )
    return json_response(answer)


def shown_order(order: LimitOrder, now: int) -> shapes.LimitOrder:
    """The order as answers show it."""
    fields: dict[str, Any] = {
        "pool": order.pool or None,
        "ip": order.ip or None,
        "connections": order.connections or None,
        "connections_per_minute": order.connections_per_minute or None,
        "messages_per_minute": order.messages_per_minute or None,
        "messages_per_connection": order.messages_per_connection or None,
        "reason": order.reason or None,
    }
    values = ordered(order, now)
    in_force = {} if values is None else {name: value for name, value in values._asdict().items() if name != "id"}
    return shapes.LimitOrder(
        id=order.id,
        site=order.site,
        closed=order.closed,
        now={name: float(value) for name, value in in_force.items() if value},
        created_at=shown(order.since),
        until=shown(order.until),
        over_at=shown(order.over_at),
        created_by=order.by,
        **known(fields),
    )
