"""Limit orders and reactions over REST."""

from aiohttp.test_utils import TestClient, TestServer

from mta.model.reactions import EXAMPLE
from mta.policy.reactions import ReactionBook, limit_order
from mta.timing.clock import wall_ms
from tests.support.control_api import BEARER, Cluster, app_for, dependencies
from tests.support.limit_orders import LimitOrders


async def test_an_order_is_made_replaced_listed_and_lifted(api: TestClient) -> None:
    made = await api.put("/v1/limits", json={"site": "big", "pool": "p", "connections": 2, "duration": "1h"})
    assert made.status == 201, await made.text()
    order = await made.json()
    assert (order["site"], order["pool"], order["now"]) == ("big", "p", {"connections": 2.0})
    again = await api.put("/v1/limits", json={"site": "big", "pool": "p", "messages_per_minute": 30})
    assert (again.status, (await again.json())["id"]) == (200, order["id"])
    other = await api.put("/v1/limits", json={"site": "small", "ip": "node:n1", "closed": True, "reason": "no"})
    assert (await other.json())["reason"] == "no"
    carried = await (await api.put("/v1/limits", json={"site": "tiny", "messages_per_connection": 3})).json()
    assert (carried["messages_per_connection"], carried["now"]) == (3, {"messages_per_connection": 3.0})
    listed = (await (await api.get("/v1/limits/orders?site=big")).json())["orders"]
    assert [(one["id"], one["now"], one["until"]) for one in listed] == [
        (order["id"], {"messages_per_minute": 30.0}, None)
    ]
    assert (await api.delete(f"/v1/limits/orders/{order['id']}")).status == 200
    gone = await api.delete(f"/v1/limits/orders/{order['id']}")
    assert gone.status == 404
    assert "GET /v1/limits/orders lists them" in (await gone.json())["error"]["message"]


async def test_an_order_that_says_nothing_or_two_things_is_refused(api: TestClient) -> None:
    for body, field in (
        ({"site": "big"}, "connections"),
        ({"site": "big", "closed": False}, "connections"),
        ({"connections": 1}, "site"),
        ({"site": "big", "connections": 0}, "connections"),
        ({"site": "big", "connections": 1, "pool": "p", "ip": "192.0.2.1"}, "ip"),
        ({"site": "big", "connections": 1, "ip": "192.0.2"}, "ip"),
        ({"site": "big", "messages_per_minute": "10/m"}, "messages_per_minute"),
        ({"site": "big", "conections": 1}, "conections"),
        ({"site": "big", "closed": True, "duration": "soon"}, "duration"),
    ):
        answer = await api.put("/v1/limits", json=body)
        assert (answer.status, (await answer.json())["error"]["field"]) == (400, field), body
    assert (await api.delete("/v1/limits/orders/mine")).status == 400


async def test_reactions_are_shown_with_what_they_do_now(cluster: Cluster) -> None:
    orders = LimitOrders()
    (reaction,) = ReactionBook([EXAMPLE])._by_text
    order = limit_order(reaction, "example", "", "192.0.2.1", wall_ms(), ["421 too many connections"])
    assert order is not None
    orders.kept[order.id] = order
    assert dependencies(cluster).reactions == ()
    app = app_for(cluster, reactions=(EXAMPLE,), limit_orders=orders)
    async with TestClient(TestServer(app), headers=BEARER) as client:
        answer = await (await client.get("/v1/reactions")).json()
    (shown,) = answer["reactions"]
    assert (shown["name"], shown["for"], shown["value"]) == ("example-too-many", 1800.0, "1")
    (given,) = answer["orders"]
    assert (given["created_by"], given["ip"], given["now"]) == (
        "reaction:example-too-many",
        "192.0.2.1",
        {"connections": 1.0},
    )
