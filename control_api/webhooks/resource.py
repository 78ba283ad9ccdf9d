"""Webhook endpoints over REST: made, listed, tested, rotated, replayed, enabled, removed."""

import secrets
from typing import Any

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.schemas import webhook_shapes as shapes
from control_api.schemas.answers import known
from control_api.schemas.queries import PageQuery
from control_api.schemas.values import cursor_of
from control_api.webhooks.standing import is_replaying, state_of
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import BadValue, SealError
from mta.model.units import parse_time
from mta.model.webhooks import Endpoint, EndpointFigures


async def list_webhooks(request: web.Request) -> web.Response:
    """The oldest first."""
    asked = read_query(request, PageQuery)
    deps, actor = dependencies.of(request), actor_of(request)
    found = [one for one in await deps.webhooks.all() if actor.sees(one.tenant)]
    rest = [one for one in found if asked.cursor is None or _position(one) > asked.cursor]
    page, figures = rest[: asked.limit], await deps.webhooks.figures()
    cursor = cursor_of(*_position(page[-1])) if len(rest) > len(page) else None
    return json_response(shapes.Webhooks(webhooks=[_shown(one, figures.get(one.id)) for one in page], cursor=cursor))


async def create_webhook(request: web.Request) -> web.Response:
    """201 with the secret, this once."""
    read_no_query(request)
    given = shapes.NEW.read(await read_fields(request), "a field of a webhook")
    deps, actor, now = dependencies.of(request), actor_of(request), now_ms()
    endpoint = Endpoint(
        id=f"wh_{now:012x}{secrets.token_hex(5)}",
        url=given["url"],
        secret=b"",
        events=given.get("events", shapes.NewWebhookBody.__struct_defaults__[0]),
        when=given.get("when", "final"),
        tags=given.get("tags") or (),
        tenant=_tenant(actor, given.get("tenant")),
        description=given.get("description", ""),
        batch=given.get("batch", 1),
        created_at=now,
        created_by=actor.author,
    )
    deps.webhooks.check(endpoint)
    await deps.audit.note(actor, _deed("webhook.create", endpoint, after=_noted(endpoint)))
    try:
        secret = await deps.webhooks.add(endpoint, bound=bool(actor.tenant))
    except SealError as error:
        raise Problem(503, str(error)) from None
    return json_response(_made(endpoint, None, secret), 201, {"Location": f"/v1/webhooks/{endpoint.id}"})


async def show_webhook(request: web.Request) -> web.Response:
    """The endpoint, and how it stands."""
    read_no_query(request)
    return await _standing(dependencies.of(request), await _webhook(request))


async def remove_webhook(request: web.Request) -> web.Response:
    """200 with the endpoint as it was."""
    read_no_query(request)
    deps, endpoint = dependencies.of(request), await _webhook(request)
    figures = (await deps.webhooks.figures()).get(endpoint.id)
    await deps.audit.note(actor_of(request), _deed("webhook.remove", endpoint, before=_noted(endpoint)))
    await deps.webhooks.remove(endpoint.id)
    return json_response(_shown(endpoint, figures))


async def test_webhook(request: web.Request) -> web.Response:
    """200 with the answer of the endpoint."""
    read_no_query(request)
    deps, endpoint = dependencies.of(request), await _webhook(request)
    try:
        answer = await deps.webhooks.test(endpoint)
    except SealError as error:
        raise Problem(503, str(error)) from None
    said = known({"status": answer.status or None, "reason": answer.failure or None})
    return json_response(shapes.TestResult(delivered=not answer.failure, **said))


async def rotate_webhook(request: web.Request) -> web.Response:
    """200 with the new secret, this once."""
    read_no_query(request)
    deps, endpoint = dependencies.of(request), await _webhook(request)
    await deps.audit.note(actor_of(request), _deed("webhook.rotate", endpoint))
    try:
        rotated = await deps.webhooks.rotate(endpoint.id)
    except SealError as error:
        raise Problem(503, str(error)) from None
    if rotated is None:
        raise _unknown()
    made, secret = rotated
    return json_response(_made(made, (await deps.webhooks.figures()).get(made.id), secret))


async def enable_webhook(request: web.Request) -> web.Response:
    """200 with the endpoint, which goes on where it stopped."""
    read_no_query(request)
    deps, endpoint = dependencies.of(request), await _webhook(request)
    await deps.audit.note(actor_of(request), _deed("webhook.enable", endpoint))
    return await _standing(deps, await deps.webhooks.enable(endpoint.id))


async def replay_webhook(request: web.Request) -> web.Response:
    """202: the process that serves the endpoint sends the events."""
    read_no_query(request)
    given = shapes.REPLAY.read(await read_fields(request), "a field of a replay")
    deps, endpoint, now = dependencies.of(request), await _webhook(request), now_ms()
    begin = parse_time(given["from_"], "from", now)
    end = min(now, parse_time(given["until"], "until", now)) if "until" in given else now
    if begin >= end:
        raise BadValue("from", "is not before until; give a time of the past")
    figures = (await deps.webhooks.figures()).get(endpoint.id)
    if is_replaying(endpoint, figures):
        raise Problem(409, "a replay is under way; wait until `replays` is false")
    after = {"from": shown(begin), "until": shown(end)}
    await deps.audit.note(actor_of(request), _deed("webhook.replay", endpoint, after=after))
    return await _standing(deps, await deps.webhooks.replay(endpoint.id, begin, end), 202)


def _tenant(actor: Actor, given: str | None) -> str:
    """Raises Problem 403 where a bound token names another tenant."""
    if actor.tenant and given not in (None, actor.tenant):
        raise Problem(403, f"is another tenant than {actor.tenant}, which the token is bound to", "tenant")
    return given or actor.tenant


async def _webhook(request: web.Request) -> Endpoint:
    found = await dependencies.of(request).webhooks.one(request.match_info["id"])
    if found is None or not actor_of(request).sees(found.tenant):
        raise _unknown()
    return found


def _unknown() -> Problem:
    return Problem(404, "there is no webhook with this id")


async def _standing(deps: Dependencies, endpoint: Endpoint | None, status: int = 200) -> web.Response:
    if endpoint is None:
        raise _unknown()
    return json_response(_shown(endpoint, (await deps.webhooks.figures()).get(endpoint.id)), status)


def _position(endpoint: Endpoint) -> tuple[str, str]:
    return f"{endpoint.created_at:015d}", endpoint.id


def _deed(action: str, endpoint: Endpoint, before: Any = None, after: Any = None) -> Deed:
    return Deed(action, endpoint.id, before=before, after=after, tenant=endpoint.tenant)


def _noted(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint in the audit, without its secrets."""
    return {name: value for name, value in _terms(endpoint).items() if name not in ("id", "created_at", "created_by")}


def _terms(endpoint: Endpoint) -> dict[str, Any]:
    more = {
        "tags": list(endpoint.tags) or None,
        "tenant": endpoint.tenant or None,
        "description": endpoint.description or None,
    }
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "when": endpoint.when,
        "batch": endpoint.batch,
        "created_at": shown(endpoint.created_at),
        "created_by": endpoint.created_by,
        **known(more),
    }


def _made(endpoint: Endpoint, figures: EndpointFigures | None, secret: str) -> shapes.MadeWebhook:
    return shapes.MadeWebhook(**msgspec.structs.asdict(_shown(endpoint, figures)), secret=secret)


def _shown(endpoint: Endpoint, figures: EndpointFigures | None) -> shapes.Webhook:
    now = now_ms()
    state, reason = state_of(endpoint, figures, now)
    said: dict[str, Any] = {
        "reason": reason or None,
        "replays": is_replaying(endpoint, figures),
        "disabled_at": shown(endpoint.disabled_at),
        "old_secret_until": shown(endpoint.old_until) if endpoint.old_until > now else None,
    }
    if figures is not None:
        said |= {
            "node": figures.node or None,
            "backlog": figures.backlog,
            "oldest": shown(figures.oldest),
            "failures": figures.failures,
            "last_success": shown(figures.last_success),
            "last_failure": shown(figures.last_failure),
            "last_failure_reason": figures.last_failure_text or None,
            "next_try": shown(figures.next_try),
            "given_up": figures.given_up,
            "lost": figures.lost,
        }
    return shapes.Webhook(**_terms(endpoint), state=state, **known(said))
