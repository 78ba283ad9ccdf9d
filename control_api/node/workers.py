"""The processes that match rules: who they are, which generation they confirmed, how far behind they are."""

from collections.abc import Mapping

from aiohttp import web

from control_api import dependencies
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_no_query
from control_api.http.times import now_ms, shown
from control_api.schemas.node_answers import Worker, Workers
from mta.model.rules import Build, Head, SessionState
from mta.model.scopes import Scope


def name_of(session: str, sessions: Mapping[str, SessionState]) -> str:
    """`<node>/<roles>/<pid>`; the session's id once the store has forgotten it."""
    state = sessions.get(session)
    return session if state is None else state.name


def _seconds_since(confirmed_at: int, now: int) -> float | None:
    """Both in Unix ms. None: it has confirmed nothing yet."""
    return max(0.0, round((now - confirmed_at) / 1000, 3)) if confirmed_at else None


async def list_workers(request: web.Request) -> web.Response:
    """All processes that have a session, by node and pid."""
    read_no_query(request)
    deps = dependencies.of(request)
    head = await deps.rules.head()
    sessions = await deps.rules.sessions()
    builds = await deps.rules.builds()
    now = now_ms()
    states = sorted(sessions.items(), key=lambda item: (item[1].node, item[1].pid, item[0]))
    workers = [_shown(session, state, builds.get(session, Build()), head, now) for session, state in states]
    return json_response(Workers(generation=head.generation, workers=workers))


def _shown(session: str, state: SessionState, build: Build, head: Head, now: int) -> Worker:
    return Worker(
        name=state.name,
        node=state.node,
        pid=state.pid,
        session=session,
        roles=list(state.roles),
        generation=state.head.generation,
        lag=max(0, head.generation - state.head.generation),
        confirmed_at=shown(state.confirmed_at),
        seconds_since_confirm=_seconds_since(state.confirmed_at, now),
        dead=state.dead,
        library=build.library,
        rule_format=build.rule_format,
        unreadable=build.unreadable or None,
    )


LIST = Operation(
    "GET",
    "/v1/workers",
    list_workers,
    "listWorkers",
    "The processes that match rules",
    (Answer(200, Workers, "by node and pid"),),
    Example("/v1/workers"),
    scope=Scope.ADMIN,
)
