"""DKIM keys over REST: made, listed, rotated, looked up in DNS, removed. No answer has a private part."""

import secrets
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.schemas import dkim_shapes as shapes
from control_api.schemas.answers import known
from control_api.schemas.values import cursor_of
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.dkim_keys import Algorithm, DkimKey, KeyState, key_id
from mta.model.errors import SealError
from mta.ports.dkim import RecordLook

_WEAK = 2048  # bits of an RSA key, below which receivers trust it less (RFC 8301 3.2)


async def list_keys(request: web.Request) -> web.Response:
    """By domain and selector."""
    asked = read_query(request, shapes.DkimKeysQuery)
    orders = dependencies.of(request).dkim
    keys, looks = await orders.keys(), await orders.looks()
    wanted = [
        key
        for key in keys
        if asked.domain in (None, key.domain)
        and asked.tenant in (None, key.tenant)
        and (asked.cursor is None or (key.domain, key.selector) > asked.cursor)
    ]
    page = wanted[: asked.limit]
    cursor = cursor_of(page[-1].domain, page[-1].selector) if len(wanted) > len(page) else None
    return json_response(shapes.DkimKeys(keys=[_shown(key, looks.get(key.id)) for key in page], cursor=cursor))


async def show_key(request: web.Request) -> web.Response:
    """The key, and the last look at its record."""
    read_no_query(request)
    key = await _key(request)
    looks = await dependencies.of(request).dkim.looks()
    return json_response(_shown(key, looks.get(key.id)))


async def create_key(request: web.Request) -> web.Response:
    """201 with the record that DNS must show."""
    read_no_query(request)
    given = shapes.NEW_KEY.read(await read_fields(request), "a field of a DKIM key")
    actor = actor_of(request)
    wanted = _wanted(actor, given["domain"], given["selector"], given.get("algorithm", "rsa"), given)
    wanted = replace(wanted, tenant=given.get("tenant", ""))
    return await _made(dependencies.of(request), actor, "dkim.create", wanted, given)


async def rotate_key(request: web.Request) -> web.Response:
    """201 with the key that takes the place of the one in the path."""
    read_no_query(request)
    given = shapes.ROTATION.read(await read_fields(request), "a field of a rotation")
    actor, old = actor_of(request), await _key(request)
    if old.state is KeyState.RETIRED:
        raise Problem(409, f"the key {old.name} has retired; rotate the key that took its place")
    wanted = _wanted(
        actor, old.domain, given.get("selector") or _selector(), given.get("algorithm", old.algorithm), given
    )
    wanted = replace(wanted, tenant=old.tenant, replaces=old.id)
    return await _made(dependencies.of(request), actor, "dkim.rotate", wanted, given)


async def check_key(request: web.Request) -> web.Response:
    """Ask DNS now."""
    read_no_query(request)
    key, look = await dependencies.of(request).dkim.look(await _key(request))
    return json_response(_shown(key, look))


async def delete_key(request: web.Request) -> web.Response:
    """200 with the key as it was."""
    read_no_query(request)
    deps, key = dependencies.of(request), await _key(request)
    await deps.audit.note(actor_of(request), Deed("dkim.remove", key.name, before=_noted(key), tenant=key.tenant))
    await deps.dkim.remove(key)
    return json_response(_shown(key, None))


async def _key(request: web.Request) -> DkimKey:
    key = await dependencies.of(request).dkim.key(request.match_info["id"])
    if key is None:
        raise Problem(404, "there is no DKIM key with this id")
    return key


def _wanted(actor: Actor, domain: str, selector: str, algorithm: str, given: dict[str, Any]) -> DkimKey:
    return DkimKey(
        id=key_id(domain, selector),
        domain=domain,
        selector=selector,
        algorithm=Algorithm(algorithm),
        bits=0,
        public="",
        state=KeyState(given.get("state", "pending")),
        created_at=now_ms(),
        created_by=actor.author,
    )


async def _made(deps: Dependencies, actor: Actor, action: str, wanted: DkimKey, given: dict[str, Any]) -> web.Response:
    if await deps.dkim.key(wanted.id) is not None:
        raise _taken(wanted)
    await deps.audit.note(actor, Deed(action, wanted.name, after=_noted(wanted), tenant=wanted.tenant))
    try:
        key = await deps.dkim.add(wanted, given.get("private_key", ""))
    except SealError as error:
        raise Problem(503, str(error)) from None
    if key is None:
        raise _taken(wanted)
    return json_response(_shown(key, None), 201)


def _taken(wanted: DkimKey) -> Problem:
    words = f"{wanted.domain} has a key with the selector {wanted.selector}; give another, or remove that key"
    return Problem(409, words, "selector")


def _selector() -> str:
    """Of a key that takes another one's place: the day, and two letters that let it happen twice a day."""
    letters = "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz") for _ in range(2))
    return f"fg{datetime.now(UTC):%Y%m%d}{letters}"


def _noted(key: DkimKey) -> dict[str, Any]:
    """The key in the audit."""
    fields = {
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state,
        "replaces": key.replaces or None,
    }
    return known(fields)


def _shown(key: DkimKey, look: RecordLook | None) -> shapes.DkimKey:
    record = shapes.DnsRecord(name=key.name, type="TXT", value=key.record)
    seen = None if look is None else shapes.DnsLook(shows=look.shows, text=look.text, at=shown(look.at))
    weak = key.algorithm is Algorithm.RSA and key.bits < _WEAK
    more = {
        "tenant": key.tenant or None,
        "dns": seen,
        "replaces": key.replaces or None,
        "active_at": shown(key.active_at),
        "retired_at": shown(key.retired_at),
        "keep_until": shown(key.keep_until),
        "warnings": [f"the key has {key.bits} bits; receivers want {_WEAK} or more"] if weak else None,
    }
    return shapes.DkimKey(
        id=key.id,
        domain=key.domain,
        selector=key.selector,
        algorithm=key.algorithm,
        bits=key.bits,
        state=key.state,
        record=record,
        created_at=shown(key.created_at),
        created_by=key.created_by,
        **known(more),
    )
