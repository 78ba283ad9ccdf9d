"""API tokens over REST: made, listed, revoked. The text of a token is in the answer that makes it, and nowhere else."""

from typing import Any

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.schemas.answers import known
from control_api.schemas.queries import PageQuery
from control_api.schemas.token_shapes import NEW_TOKEN, MadeToken, Token, Tokens
from control_api.schemas.values import cursor_of
from mta.model.api_tokens import ApiToken, new_secret
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.scopes import Scope
from mta.model.units import parse_time


async def list_tokens(request: web.Request) -> web.Response:
    """The oldest first, also those that have expired."""
    asked = read_query(request, PageQuery)
    table = await dependencies.of(request).tokens.load()
    tokens = sorted((stored.token for stored in table.tokens.values()), key=_position)
    rest = [token for token in tokens if asked.cursor is None or _position(token) > asked.cursor]
    page, now = rest[: asked.limit], now_ms()
    cursor = cursor_of(*_position(page[-1])) if len(rest) > len(page) else None
    return json_response(Tokens(tokens=[Token(**_shown(token, now)) for token in page], cursor=cursor))


async def create_token(request: web.Request) -> web.Response:
    """201 with the text of the token, this once."""
    read_no_query(request)
    deps, actor, now = dependencies.of(request), actor_of(request), now_ms()
    given = NEW_TOKEN.read(await read_fields(request, NEW_TOKEN.lists()), "a field of a token")
    secret = new_secret()
    token = ApiToken(
        id=secret.id,
        name=given["name"],
        scopes=given["scopes"],
        tenant=given.get("tenant", ""),
        simulate=given.get("simulate", False),
        created_at=now,
        created_by=actor.author,
        expires_at=_end(given.get("expires_at"), now),
    )
    await deps.audit.note(actor, Deed("token.create", token.id, after=_shown(token, now), tenant=token.tenant))
    await deps.tokens.put(token, secret.digest)
    return json_response(MadeToken(**_shown(token, now), token=secret.text), 201)


async def revoke_token(request: web.Request) -> web.Response:
    """200 with the token as it was. Every node refuses it within a second."""
    read_no_query(request)
    deps, actor, now = dependencies.of(request), actor_of(request), now_ms()
    stored = (await deps.tokens.load()).tokens.get(request.match_info["id"])
    if stored is None:
        raise Problem(404, "there is no token with this id")
    token = stored.token
    await deps.audit.note(actor, Deed("token.revoke", token.id, before=_shown(token, now), tenant=token.tenant))
    await deps.tokens.remove(token.id)
    return json_response(Token(**_shown(token, now)))


def _end(given: str | None, now: int) -> int:
    if given is None:
        return 0
    moment = parse_time(given, "expires_at", now)
    if moment <= now:
        raise BadValue("expires_at", "is past; such a token would open nothing")
    return moment


def _position(token: ApiToken) -> tuple[str, str]:
    return f"{token.created_at:015d}", token.id


def _shown(token: ApiToken, now: int) -> dict[str, Any]:
    return known(
        {
            "id": token.id,
            "name": token.name,
            "scopes": list(token.scopes),
            "tenant": token.tenant or None,
            "simulate": token.simulate or None,
            "expires_at": shown(token.expires_at),
            "expired": token.has_expired(now),
        }
    ) | {"created_at": shown(token.created_at), "created_by": token.created_by}


OPERATIONS = Group(
    "Tokens",
    "The tokens that open the API, each with its scopes.",
    (
        Operation(
            "GET",
            "/v1/tokens",
            list_tokens,
            "listTokens",
            "The tokens, without their text",
            (Answer(200, Tokens, "oldest first"),),
            Example("/v1/tokens"),
            scope=Scope.ADMIN,
            query=PageQuery,
        ),
        Operation(
            "POST",
            "/v1/tokens",
            create_token,
            "createToken",
            "Make a token",
            (Answer(201, MadeToken, "made; `token` is its text, which nothing shows again"),),
            Example("/v1/tokens", {"name": "crm", "scopes": ["errors:write", "messages:read"], "tenant": "acme"}, 201),
            scope=Scope.ADMIN,
            refusals=BODY_REFUSALS,
            body=NEW_TOKEN,
        ),
        Operation(
            "DELETE",
            "/v1/tokens/{id}",
            revoke_token,
            "revokeToken",
            "Revoke a token; every node refuses it within a second",
            (Answer(200, Token, "revoked; the token as it was"),),
            Example("/v1/tokens/$TOKEN_ID"),
            scope=Scope.ADMIN,
            refusals=(404,),
            path_values=(Parameter("id", {"type": "string", "minLength": 1}),),
        ),
    ),
)
