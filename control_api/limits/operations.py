"""The operations on limit orders and reactions."""

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, a_parameter
from control_api.limits import resource
from control_api.schemas import limit_shapes as shapes
from mta.model.scopes import Scope

_ID = a_parameter("id", shapes.ORDER_ID)

OPERATIONS = Group(
    "Limits",
    "Limits of sites that people and reactions order for the whole cluster. A change is in force on every node within "
    "two seconds. The strictest limit holds.",
    (
        Operation(
            "PUT",
            "/v1/limits",
            resource.put_limit,
            "putLimit",
            "Limit the mail to a site, or that of one pool or sending IP",
            (Answer(200, shapes.LimitOrder, "replaced"), Answer(201, shapes.LimitOrder, "made")),
            Example("/v1/limits", {"site": "example.com", "connections": 2, "duration": "1h"}, 201),
            description="An order replaces the one that a person gave before for the same site, pool and IP. "
            "Connections beyond a limit end after the transaction that they carry.",
            scope=Scope.ADMIN,
            refusals=BODY_REFUSALS,
            body=shapes.LIMIT_ORDER,
        ),
        Operation(
            "GET",
            "/v1/limits/orders",
            resource.list_limits,
            "listLimitOrders",
            "The limit orders that are in force",
            (Answer(200, shapes.LimitOrders, "by site"),),
            Example("/v1/limits/orders"),
            scope=Scope.ADMIN,
            query=shapes.OrdersQuery,
        ),
        Operation(
            "GET",
            "/v1/reactions",
            resource.list_reactions,
            "listReactions",
            "The reactions to replies, and the limits that they have ordered",
            (Answer(200, shapes.Reactions, "in the order of the settings"),),
            Example("/v1/reactions"),
            scope=Scope.ADMIN,
        ),
        Operation(
            "DELETE",
            "/v1/limits/orders/{id}",
            resource.delete_limit,
            "removeLimitOrder",
            "Lift a limit order",
            (Answer(200, shapes.LimitOrder, "the order as it was"),),
            Example("/v1/limits/orders/$LIMIT"),
            scope=Scope.ADMIN,
            refusals=(404, 409),
            path_values=(_ID,),
        ),
    ),
)
