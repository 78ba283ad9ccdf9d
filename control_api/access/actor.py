"""The actor of a request, as the gate of the API has found it."""

from aiohttp import web

from mta.model.actor import Actor

ACTOR = web.RequestKey("actor", Actor)


def actor_of(request: web.Request) -> Actor:
    """The actor. Raises KeyError for a request without a token: no operation that changes something is open."""
    return request[ACTOR]


def tenant_of(request: web.Request) -> str:
    """The tenant that the token of the request is bound to; "" = none."""
    return request[ACTOR].tenant
