"""IP pools over REST: the pools of the cluster, their IPs, and how soon a change is in force."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query, read_query_or_body
from control_api.pools.changes import Edit, change_pool
from control_api.pools.in_force import all_follow, pools_in_force, servers
from control_api.schemas import pool_shapes as shapes
from control_api.schemas.answers import known
from control_api.schemas.queries import WaitQuery
from control_api.schemas.reading import Body
from mta.model.pools import PoolSettings, SharedPool
from mta.policy.pools import owners
from mta.policy.served_pools import why_it_waits

_NOUN = "a field of a pool"


async def list_pools(request: web.Request) -> web.Response:
    """By name."""
    asked, deps = read_query(request, shapes.PoolsQuery), dependencies.of(request)
    pools, nodes = await pools_in_force(deps), await servers(deps)
    names = sorted(name for name in pools if asked.cursor is None or name > asked.cursor)
    page = names[: asked.limit]
    cursor = page[-1] if len(names) > len(page) else None
    shown = [shapes.PoolShown(**_shown(name, pools[name], nodes)) for name in page]
    return json_response(shapes.PoolList(pools=shown, cursor=cursor))


async def show_pool(request: web.Request) -> web.Response:
    """The pool in the path."""
    read_no_query(request)
    deps, name = dependencies.of(request), _name(request)
    pool = (await pools_in_force(deps)).get(name)
    if pool is None:
        raise _unknown(name)
    return json_response(shapes.PoolShown(**_shown(name, pool, await servers(deps))))


async def put_pool(request: web.Request) -> web.Response:
    """201: the cluster had none of this name."""
    asked, name = read_query(request, WaitQuery), _name(request)
    made = SharedPool(**shapes.POOL.read(await read_fields(request), _NOUN))
    own = dependencies.of(request).own_pools
    return await _changed(request, name, lambda was: _made(name, was, made, own), asked)


async def post_pool(request: web.Request) -> web.Response:
    """201: the cluster had none of this name; else the fields that are given change."""
    asked = read_query(request, WaitQuery)
    given = shapes.NAMED_POOL.read(await read_fields(request, shapes.NAMED_POOL.lists()), _NOUN)
    name, own = given.pop("name"), dependencies.of(request).own_pools

    def edit(was: SharedPool | None) -> SharedPool:
        base = SharedPool(**msgspec.structs.asdict(own[name])) if was is None and name in own else was
        return _made(name, was, _edited(base or SharedPool(), **given), own)

    return await _changed(request, name, edit, asked)


async def delete_pool(request: web.Request) -> web.Response:
    """200 with the pool as it was."""
    return await _removed(request, _name(request), read_query(request, WaitQuery))


async def delete_named_pool(request: web.Request) -> web.Response:
    """The pool that the body or the query names."""
    given, asked = await _body_or_query(request, shapes.POOL_NAME_BODY)
    return await _removed(request, given["name"], asked)


async def list_ips(request: web.Request) -> web.Response:
    """Of all pools, or of one."""
    asked, deps = read_query(request, shapes.PoolIpsQuery), dependencies.of(request)
    pools = await pools_in_force(deps)
    if asked.name is not None and asked.name not in pools:
        raise _unknown(asked.name)
    found = [
        shapes.PoolIp(ip=ip, name=name, layer=_layer(pool), weight=pool.weights.get(ip, 1))
        for name, pool in sorted(pools.items())
        if asked.name in (None, name)
        for ip in pool.ips
    ]
    return json_response(shapes.PoolIps(poolips=found))


async def post_ip(request: web.Request) -> web.Response:
    """Add an IP to a pool of the cluster, or change its weight. 201: it was not in it."""
    asked = read_query(request, WaitQuery)
    given = shapes.POOL_IP.read(await read_fields(request, shapes.POOL_IP.lists()), _NOUN)
    name, ip, weight = given["name"], given["ip"], given.get("weight")
    own = dependencies.of(request).own_pools

    def edit(was: SharedPool | None) -> SharedPool:
        pool = _standing(name, was, own)
        ips = pool.ips if ip in pool.ips else (*pool.ips, ip)
        return _edited(pool, ips=ips, weights=pool.weights if weight is None else {**pool.weights, ip: weight})

    return await _changed(request, name, edit, asked, ip)


async def delete_ip(request: web.Request) -> web.Response:
    """Take an IP out of a pool of the cluster."""
    given, asked = await _body_or_query(request, shapes.POOL_IP_NAME)
    name, ip, own = given["name"], given["ip"], dependencies.of(request).own_pools

    def edit(was: SharedPool | None) -> SharedPool:
        pool = _standing(name, was, own)
        if ip not in pool.ips:
            raise Problem(404, f"pool {name} has no IP {ip}; it has {', '.join(pool.ips) or 'none'}", "ip")
        return _edited(pool, ips=tuple(other for other in pool.ips if other != ip))

    return await _changed(request, name, edit, asked)


def _made(name: str, was: SharedPool | None, made: SharedPool, own: Mapping[str, PoolSettings]) -> SharedPool:
    """Raises Problem where mail of a pool that is served now would wait."""
    if was is None and name in own and not made.ips:
        words = (
            f"pool {name} is in the settings file of this node; a pool of the cluster without IPs would hold its mail"
        )
        raise Problem(409, words, "ips")
    return made


def _edited(pool: SharedPool, **fields: Any) -> SharedPool:
    """Weights and warmth of IPs that it has no more are gone."""
    edited: SharedPool = msgspec.structs.replace(pool, **fields)
    weights = {ip: weight for ip, weight in edited.weights.items() if ip in edited.ips}
    warm = tuple(ip for ip in edited.warm if ip in edited.ips)
    made: SharedPool = msgspec.structs.replace(edited, weights=weights, warm=warm)
    return made


def _standing(name: str, was: SharedPool | None, own: Mapping[str, PoolSettings]) -> SharedPool:
    """Raises Problem."""
    if was is not None:
        return was
    if name in own:
        words = f"pool {name} is from the settings file; PUT /v1/pools/{name} makes it a pool of the cluster"
        raise Problem(409, words, "name")
    raise _unknown(name)


async def _body_or_query(request: web.Request, body: Body) -> tuple[dict[str, Any], WaitQuery]:
    fields, asked = await read_query_or_body(request, body)
    return body.read(fields, _NOUN), asked


async def _changed(request: web.Request, name: str, edit: Edit, asked: WaitQuery, ip: str = "") -> web.Response:
    """The answer to a change that leaves a pool. `ip`: the one that is to be in it; it decides between 200 and 201."""
    deps = dependencies.of(request)
    was, now = await change_pool(deps, actor_of(request), name, edit)
    pool = now.pools.get(name)
    if pool is None:
        raise Problem(409, f"pool {name} was removed meanwhile; make it again")
    done = await all_follow(deps, now.number, deps.api.wait if asked.wait is None else asked.wait)
    shown = _shown(name, pool, await servers(deps))
    found = shapes.PoolInForce(**shown, in_force=done, warnings=_warnings(deps, name, pool, shown, done))
    created = was is None or (ip != "" and ip not in was.ips)
    return json_response(found, 201 if created else 200)


async def _removed(request: web.Request, name: str, asked: WaitQuery) -> web.Response:
    deps = dependencies.of(request)

    def edit(was: SharedPool | None) -> None:
        _standing(name, was, {} if was is not None else deps.own_pools)

    was, now = await change_pool(deps, actor_of(request), name, edit)
    if was is None:
        raise _unknown(name)
    done = await all_follow(deps, now.number, deps.api.wait if asked.wait is None else asked.wait)
    own = deps.own_pools.get(name)
    warnings = [] if own is None else [f"pool {name} is again as the settings file of this node has it"]
    nodes = await servers(deps)
    return json_response(shapes.PoolInForce(**_shown(name, was, nodes), in_force=done, warnings=warnings))


def _warnings(deps: Dependencies, name: str, pool: SharedPool, shown: Mapping[str, Any], in_force: bool) -> list[str]:
    found = (
        [f"not every process follows yet; GET /v1/pools/{name} shows the nodes that serve it"] if not in_force else []
    )
    if "waits" in shown:
        found.append(shown["waits"])
    if deps.own_pools.get(name, PoolSettings()) != PoolSettings():
        found.append(f"[pools.{name}] in the settings file of this node does not hold any more; remove it there")
    own = owners({other: there for other, there in deps.own_pools.items() if other != name})
    found += [
        f"{ip} is in pool {own[ip]} of the settings file of this node, too; remove it there"
        for ip in pool.ips
        if ip in own
    ]
    return found


def _shown(name: str, pool: PoolSettings, nodes: Mapping[str, list[str]]) -> dict[str, Any]:
    served = nodes.get(name, [])
    fields = {
        "description": pool.description or None if isinstance(pool, SharedPool) else None,
        "ehlo": pool.ehlo or None,
        "weights": pool.weights or None,
        "warmup": list(pool.warmup) or None,
        "warm": list(pool.warm) or None,
        "waits": None if served else why_it_waits(name, pool),
    }
    return {"name": name, "layer": _layer(pool), "ips": list(pool.ips), "nodes": served} | known(fields)


def _layer(pool: PoolSettings) -> Any:
    return "cluster" if isinstance(pool, SharedPool) else "settings"


def _name(request: web.Request) -> str:
    name: str = shapes.NAME.read(request.match_info["name"], "name")
    return name


def _unknown(name: str) -> Problem:
    return Problem(404, f"there is no pool {name}; POST /v1/pools makes one")
