"""The check of a sender's domain over REST."""

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.http.problems import json_response
from control_api.http.query import read_no_query
from control_api.http.times import now_ms, shown
from control_api.schemas import dkim_values
from control_api.schemas import domain_shapes as shapes


async def check_domain(request: web.Request) -> web.Response:
    """Asks DNS now. A fault there is a finding in the answer, and no refusal."""
    read_no_query(request)
    domain = dkim_values.DOMAIN.read(request.match_info["domain"], "domain")
    report = await dependencies.of(request).domains.report(domain)
    fields = msgspec.to_builtins(report) | {"as_of": shown(now_ms()), "ok": report.ok}
    return json_response(msgspec.convert(fields, shapes.DomainChecked))
