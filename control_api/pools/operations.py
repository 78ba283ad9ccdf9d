"""The operations on IP pools."""

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, a_parameter
from control_api.pools import resource
from control_api.schemas import pool_shapes as shapes
from control_api.schemas.queries import WaitQuery
from mta.model.scopes import Scope

_NAME = a_parameter("name", shapes.NAME)
_POOLS, _POOL, _IPS = "/v1/pools", "/v1/pools/{name}", "/v1/poolips"
_MADE = Answer(200, shapes.PoolInForce, "changed"), Answer(201, shapes.PoolInForce, "made")
_GONE = (Answer(200, shapes.PoolInForce, "the pool as it was"),)
_BODY = {"ips": ["192.0.2.7", "192.0.2.8"], "weights": {"192.0.2.7": 3}, "ehlo": "news.example.com"}
_WAITS = "The answer waits until every process that delivers has put the change in force, at most `wait`."

OPERATIONS = Group(
    "Pools",
    "IP pools. A pool of the cluster takes the place of one of a settings file; a change is in force on every node "
    "within two seconds. Connections end after their transaction, and mail that waits for an IP that left goes on "
    "from the others.",
    (
        Operation(
            "GET",
            _POOLS,
            resource.list_pools,
            "listPools",
            "The pools of the cluster, and those of this node's settings file",
            (Answer(200, shapes.PoolList, "by name"),),
            Example(_POOLS),
            scope=Scope.ADMIN,
            query=shapes.PoolsQuery,
        ),
        Operation(
            "POST",
            _POOLS,
            resource.post_pool,
            "makePool",
            "Make a pool of the cluster, or change fields of one",
            _MADE,
            Example(_POOLS, {"name": "letters", "description": "newsletters"}, 201),
            scope=Scope.ADMIN,
            description=_WAITS,
            refusals=(*BODY_REFUSALS, 409),
            query=WaitQuery,
            body=shapes.NAMED_POOL,
        ),
        Operation(
            "PUT",
            _POOL,
            resource.put_pool,
            "putPool",
            "Make a pool of the cluster, or replace one",
            _MADE,
            Example("/v1/pools/news", _BODY, 201),
            scope=Scope.ADMIN,
            description=_WAITS,
            refusals=(*BODY_REFUSALS, 409),
            path_values=(_NAME,),
            query=WaitQuery,
            body=shapes.POOL,
        ),
        Operation(
            "GET",
            _POOL,
            resource.show_pool,
            "showPool",
            "One pool",
            (Answer(200, shapes.PoolShown, "the pool"),),
            Example("/v1/pools/news"),
            scope=Scope.ADMIN,
            refusals=(404,),
            path_values=(_NAME,),
        ),
        Operation(
            "GET",
            _IPS,
            resource.list_ips,
            "listPoolIps",
            "The sending IPs of the pools",
            (Answer(200, shapes.PoolIps, "by pool"),),
            Example(f"{_IPS}?name=news"),
            scope=Scope.ADMIN,
            refusals=(404,),
            query=shapes.PoolIpsQuery,
        ),
        Operation(
            "POST",
            _IPS,
            resource.post_ip,
            "addPoolIp",
            "Add an IP to a pool of the cluster, or change its weight",
            (Answer(200, shapes.PoolInForce, "it was in it"), Answer(201, shapes.PoolInForce, "added")),
            Example(_IPS, {"name": "news", "ip": "192.0.2.9"}, 201),
            scope=Scope.ADMIN,
            description=_WAITS,
            refusals=(404, *BODY_REFUSALS, 409),
            query=WaitQuery,
            body=shapes.POOL_IP,
        ),
        Operation(
            "DELETE",
            _IPS,
            resource.delete_ip,
            "removePoolIp",
            "Take an IP out of a pool of the cluster",
            (Answer(200, shapes.PoolInForce, "the pool as it is now"),),
            Example(f"{_IPS}?name=news&ip=192.0.2.9"),
            scope=Scope.ADMIN,
            description="The fields stand in the query or in the body, not in both.",
            refusals=(404, *BODY_REFUSALS, 409),
            query=WaitQuery,
            body=shapes.POOL_IP_NAME,
            body_or_query=True,
        ),
        Operation(
            "DELETE",
            _POOL,
            resource.delete_pool,
            "removePool",
            "Remove a pool of the cluster",
            _GONE,
            Example("/v1/pools/news"),
            scope=Scope.ADMIN,
            refusals=(404, 409),
            path_values=(_NAME,),
            query=WaitQuery,
        ),
        Operation(
            "DELETE",
            _POOLS,
            resource.delete_named_pool,
            "removeNamedPool",
            "Remove the pool of the cluster that the body or the query names",
            _GONE,
            Example(f"{_POOLS}?name=letters"),
            scope=Scope.ADMIN,
            description="The fields stand in the query or in the body, not in both.",
            refusals=(404, *BODY_REFUSALS, 409),
            query=WaitQuery,
            body=shapes.POOL_NAME_BODY,
            body_or_query=True,
        ),
    ),
)
