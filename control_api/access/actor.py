"""The actor of a request, as the gate of the API has found it."""

from aiohttp import web

from mta.model.actor import Actor

ACTOR = web.RequestKey("actor", Actor)


def actor_of(request: web.Request) -> Actor:
    """Who asks. Raises KeyError for a request that needed no token: nothing that changes anything is open."""
    return request[ACTOR]
