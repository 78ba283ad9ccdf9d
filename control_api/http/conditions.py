"""Requests on condition: `If-Match` with the generation of what was read."""

import re
from typing import Final

from aiohttp import ETag, hdrs, web

from control_api.http.operation import Parameter
from control_api.schemas.values import a_text
from mta.model.errors import BadValue

_ONE: Final = r'(?:W/)?"[0-9]{1,15}"'
_GIVEN: Final = re.compile(rf"[ \t]*(?:\*|{_ONE}(?:[ \t]*,[ \t]*{_ONE})*)[ \t]*", re.ASCII)

IF_MATCH: Final = Parameter("If-Match", a_text(r'(W/)?"[0-9]{1,15}"|\*'), "the ETag of what was read: its generation")


def generations(request: web.Request) -> tuple[ETag, ...] | None:
    """The generations that `If-Match` names; None: the request has no such condition. Raises BadValue."""
    given = request.headers.getall(hdrs.IF_MATCH, [])
    if given and not _GIVEN.fullmatch(",".join(given)):
        raise BadValue("If-Match", 'is not an ETag of this API, such as "17", or *')
    return request.if_match
