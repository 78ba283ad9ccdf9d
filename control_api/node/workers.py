"""The processes that match rules: who they are, which generation they confirmed, how far behind they are."""

from collections.abc import Mapping

from aiohttp import web

from control_api import dependencies
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from mta.model.rules import Build, SessionState


def name_of(session: str, sessions: Mapping[str, SessionState]) -> str:
    """`<node>/<roles>/<pid>`; the session's id once the store has forgotten it."""
    state = sessions.get(session)
    return session if state is None else state.name


def _seconds_since(confirmed_at: int, now: int) -> float | None:
    """Both in Unix ms. None: it has confirmed nothing yet."""
    return max(0.0, round((now - confirmed_at) / 1000, 3)) if confirmed_at else None


async def list_workers(request: web.Request) -> web.Response:
    """GET /v1/workers."""
    read_query(request)
    deps = dependencies.of(request)
    head = await deps.rules.head()
    sessions = await deps.rules.sessions()
    builds = await deps.rules.builds()
    now = now_ms()
    workers = [
        {
            "name": name_of(session, sessions),
            "node": state.node,
            "pid": state.pid,
            "session": session,
            "roles": list(state.roles),
            "generation": state.head.generation,
            "lag": max(0, head.generation - state.head.generation),
            "confirmed_at": shown(state.confirmed_at),
            "seconds_since_confirm": _seconds_since(state.confirmed_at, now),
            "dead": state.dead,
            "library": builds.get(session, Build()).library,
            "rule_format": builds.get(session, Build()).rule_format,
            "unreadable": builds.get(session, Build()).unreadable or None,
        }
        for session, state in sorted(sessions.items(), key=lambda item: (item[1].node, item[1].pid, item[0]))
    ]
    return json_response({"generation": head.generation, "workers": workers})
