"""Brakes over REST: made, listed, shown with their pulls, removed. One that is bound to a tenant watches its mail."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.rules.body import read_rule
from control_api.rules.tenancy import ordered
from control_api.schemas import brake_shapes as shapes
from control_api.schemas.answers import known
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.brakes import Brake, Pull
from mta.model.errors import BadValue
from mta.model.rules import Kind, Rule
from mta.policy.brakes import bucket_ms, counter_of
from mta.ports.brakes import Rate

_MOST_PULLS: Final = 100
_ANY_TAG: Final = "any"  # stands for the tag that is not known yet
_TERMS: Final = ("code", "extended", "description", "reason", "in_flight", "at_the_door", "undo")


async def list_brakes(request: web.Request) -> web.Response:
    """By the time at which they were made."""
    asked, actor, deps = read_query(request, shapes.BrakesQuery), actor_of(request), dependencies.of(request)
    found = [
        brake
        for brake in (await _brakes(deps, actor)).values()
        if asked.tag in (None, brake.tag) and (asked.cursor is None or brake.id > asked.cursor)
    ]
    page = found[: asked.limit]
    pulls = await deps.brakes.pulls()
    answer = [shapes.Brake(**_shown(brake, [pull for pull in pulls if pull.brake == brake.id])) for brake in page]
    return json_response(shapes.Brakes(brakes=answer, cursor=page[-1].id if len(found) > len(page) else None))


async def create_brake(request: web.Request) -> web.Response:
    """201: outcomes are counted on every node within a second."""
    read_no_query(request)
    given = shapes.NEW.read(await read_fields(request), "a field of a brake")
    deps, actor, now = dependencies.of(request), actor_of(request), now_ms()
    selectors: dict[str, str] = given["selectors"]
    rule = _rule(given.get("action"), selectors, deps.node, now, actor)
    brake = Brake(
        id=f"{now:012x}{secrets.token_hex(5)}",
        metric=given["metric"],
        ratio=given["ratio"],
        least=given["min"],
        window=given["window"],
        rule=rule,
        tag=rule.selectors.tag or "" if "tag" in selectors else "",
        pool=rule.selectors.pool or "",
        tenant=rule.selectors.tenant or "",
        site=rule.selectors.site or "",
        lasts=given.get("for_", 0.0),
        created_at=now,
        created_by=actor.author,
        owner=actor.tenant,
    )
    found = shapes.Brake(**_shown(brake, ()))
    await deps.audit.note(actor, _deed("brake.add", brake, after=msgspec.to_builtins(found)))
    await deps.brakes.add(brake)
    return json_response(found, 201, {"Location": f"/v1/brakes/{brake.id}"})


async def show_brake(request: web.Request) -> web.Response:
    """The brake, its pulls, and the window of its tag."""
    read_no_query(request)
    deps = dependencies.of(request)
    brake = await _brake(request)
    pulls = await deps.brakes.pulls(brake.id)
    rate: Rate | None = None
    if brake.tag:
        key = brake.id, counter_of(brake.tag, brake.tenant)
        rate = (await deps.brakes.rates([(key, bucket_ms(brake))]))[key]
    return json_response(_whole(brake, pulls, rate))


async def remove_brake(request: web.Request) -> web.Response:
    """200 with the brake as it was. Its rules stay until they are lifted or over."""
    read_no_query(request)
    deps = dependencies.of(request)
    brake = await _brake(request)
    found = _whole(brake, await deps.brakes.pulls(brake.id), None)
    before = msgspec.to_builtins(shapes.Brake(**_shown(brake, ())))
    await deps.audit.note(actor_of(request), _deed("brake.remove", brake, before=before))
    await deps.brakes.remove(brake.id)
    return json_response(found)


def _rule(terms: Mapping[str, Any] | None, selectors: Mapping[str, str], node: str, now: int, actor: Actor) -> Rule:
    """The rule as a pull will make it, for a tag that may not be known yet. Raises BadValue, Problem 403."""
    kind = Kind.PAUSE if terms is None else Kind.ERROR
    mail = {name: value for name, value in selectors.items() if name != "each"} | (
        {} if "tag" in selectors else {"tag": _ANY_TAG}
    )
    try:
        return ordered(read_rule({**(terms or {}), **mail}, node, now, kind), actor)
    except BadValue as bad:
        raise BadValue(f"{'selectors' if bad.field in mail else 'action'}.{bad.field}", bad.reason) from None


def _deed(action: str, brake: Brake, before: Any = None, after: Any = None) -> Deed:
    return Deed(action, brake.id, before=before, after=after, tenant=brake.tenant)


async def _brakes(deps: Dependencies, actor: Actor) -> dict[str, Brake]:
    shared = await deps.brakes.brakes()
    every = {} if shared is None else shared.brakes
    return {brake.id: brake for brake in every.values() if actor.sees(brake.owner)}


async def _brake(request: web.Request) -> Brake:
    found = (await _brakes(dependencies.of(request), actor_of(request))).get(request.match_info["id"])
    if found is None:
        raise Problem(404, "there is no brake with this id")
    return found


def _whole(brake: Brake, pulls: Sequence[Pull], rate: Rate | None) -> shapes.WholeBrake:
    latest = sorted(pulls, key=lambda pull: -pull.at)[:_MOST_PULLS]
    found = None
    if rate is not None:
        ratio = rate.hits / rate.counted if rate.counted else None
        found = shapes.BrakeRate(hits=rate.hits, counted=rate.counted, ratio=None if ratio is None else round(ratio, 6))
    return shapes.WholeBrake(
        **_shown(brake, pulls),
        pulls=[
            shapes.BrakePull(
                tag=pull.tag,
                at=shown(pull.at) or "",
                hits=pull.hits,
                counted=pull.counted,
                rule=pull.rule or None,
                lifted_at=shown(pull.lifted_at),
                pulls=pull.number,
            )
            for pull in latest
        ],
        rate=found if found is not None else UNSET,
    )


def _shown(brake: Brake, pulls: Sequence[Pull]) -> dict[str, Any]:
    rule = brake.rule
    selectors = {
        "tag": brake.tag or None,
        "each": None if brake.tag else "tag",
        "pool": brake.pool or None,
        "site": brake.site or None,
        "tenant": brake.tenant or None,
    }
    return {
        "id": brake.id,
        "selectors": shapes.BrakeSelectors(**known(selectors)),
        "metric": brake.metric,
        "ratio": brake.ratio,
        "min": brake.least,
        "window": brake.window,
        "action": "pause" if rule.kind is Kind.PAUSE else _action(rule),
        **({"for_": brake.lasts} if brake.lasts else {}),
        "created_at": shown(brake.created_at),
        "created_by": brake.created_by,
        "pulled": sum(not pull.lifted_at for pull in pulls),
    }


def _action(rule: Rule) -> dict[str, Any]:
    """The terms of the forced error that are not as usual."""
    usual = Rule("", rule.selectors)
    found = {name: getattr(rule, name) for name in _TERMS}
    return {name: value for name, value in found.items() if name == "code" or value != getattr(usual, name)}
