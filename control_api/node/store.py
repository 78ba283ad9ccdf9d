"""An operator acknowledges that the store was found emptied."""

import logging

from aiohttp import web

from control_api import dependencies
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import shown

log = logging.getLogger(__name__)


async def acknowledge(request: web.Request) -> web.Response:
    """POST /v1/store/acknowledge: that the store was found emptied is known; again, nothing is left to acknowledge."""
    read_query(request)
    at = await dependencies.of(request).fate.acknowledge()
    if at:
        log.warning("that the store was found emptied at %s is acknowledged", shown(at))
    return json_response({"emptied_at": shown(at) if at else None})
