"""Staged releases over REST: a pause lets a part of its mail go, and keeps the rest until somebody decides about it."""

import asyncio
import secrets
from typing import Final

import msgspec
from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation, Parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.rules.pauses import RESOURCE
from control_api.rules.resource import PATHS, wait_of
from control_api.rules.tenancy import require_own
from control_api.schemas.queries import WaitQuery
from control_api.schemas.releases import RELEASE, StagedReleaseAnswer, StagedReleaseOrder
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.releases import ReleaseState, StagedRelease
from mta.model.rules import Kind, Rule
from mta.model.scopes import Scope
from mta.policy.rule_effect import still_holds
from mta.policy.staged_release import ended
from mta.timing.clock import boottime

_LOOK: Final = 0.05
_PATH: Final = PATHS[Kind.PAUSE] + "/{id}/release"


async def order(request: web.Request) -> web.Response:
    """200 once as many have gone as the order names, 202 before that, and always for a rate."""
    asked = read_query(request, WaitQuery)
    deps, actor = dependencies.of(request), actor_of(request)
    wanted = StagedReleaseOrder(**RELEASE.read(await read_fields(request), "a field of this order"))
    if (wanted.count is None) == (wanted.rate is None):
        raise BadValue("count", 'must be given, or rate instead of it: {"count": 1000} or {"rate": "100/m"}')
    pause, wait = await _pause(request, actor), wait_of(request, asked)
    known = await deps.releases.get(pause.id)
    if known is not None and known.state is ReleaseState.RUNNING:
        raise Problem(409, f"a release of this pause is under way; see {_path(pause)}, and DELETE it to give another")
    given = _given(pause, wanted, actor, known)
    await deps.audit.note(actor, _deed("pause.release", given, pause))
    if not await deps.releases.change(known, given):
        raise Problem(409, f"somebody else gave an order for a release of this pause just now; see {_path(pause)}")
    until = boottime() + wait
    current: StagedRelease | None = given
    while given.count and current is not None and current.state is ReleaseState.RUNNING and boottime() < until:
        await asyncio.sleep(_LOOK)
        current = await deps.releases.get(pause.id)
        if current is not None and current.id != given.id:
            break
    current = current or given
    return json_response(await _shown(deps, current), 202 if current.state is ReleaseState.RUNNING else 200)


async def show(request: web.Request) -> web.Response:
    """The last release of the pause, and how far it is."""
    read_no_query(request)
    deps = dependencies.of(request)
    pause = await _known(request, actor_of(request))
    return json_response(await _shown(deps, await _last(deps, pause)))


async def stop(request: web.Request) -> web.Response:
    """Let no more go; a release that is over stays as it is."""
    read_no_query(request)
    deps, actor = dependencies.of(request), actor_of(request)
    pause = await _known(request, actor)
    require_own(pause, actor)
    known = await _last(deps, pause)
    if known.state is ReleaseState.RUNNING:
        await deps.audit.note(actor, _deed("pause.release.stop", known, pause))
    while known.state is ReleaseState.RUNNING:
        gone = known.released + await _of_round(deps, known, close=True)
        stopped = ended(msgspec.structs.replace(known, released=gone), ReleaseState.STOPPED, now_ms())
        if await deps.releases.change(known, stopped):
            known = stopped
        else:
            known = await _last(deps, pause)
    return json_response(await _shown(deps, known))


async def _known(request: web.Request, actor: Actor) -> Rule:
    """The pause in the path. Raises Problem 404."""
    return RESOURCE.require(await dependencies.of(request).rules.rule(request.match_info["id"]), actor)


async def _pause(request: web.Request, actor: Actor) -> Rule:
    """A pause that holds mail now. Raises Problem 404, 403, 409."""
    pause = await _known(request, actor)
    require_own(pause, actor)
    if not still_holds(pause, now_ms()):
        raise Problem(409, "the pause is disabled, has expired or its schedule is off: it holds no mail to let go")
    return pause


async def _last(deps: Dependencies, pause: Rule) -> StagedRelease:
    found = await deps.releases.get(pause.id)
    if found is None:
        raise Problem(404, f"no release of this pause was ordered; POST {_path(pause)} orders one")
    return found


def _given(pause: Rule, wanted: StagedReleaseOrder, actor: Actor, known: StagedRelease | None) -> StagedRelease:
    """The new order; its id is greater than that of the pause's last one, whatever became of the clock."""
    now = now_ms()
    stamp = now if known is None else max(now, int(known.id[:13]) + 1)
    return StagedRelease(
        id=f"{stamp:013d}-{secrets.token_hex(4)}",
        pause=pause.id,
        started_at=now,
        by=actor.author,
        count=wanted.count or 0,
        rate=wanted.rate or 0.0,
    )


def _deed(action: str, given: StagedRelease, pause: Rule) -> Deed:
    part = {"count": given.count} if given.count else {"rate": given.rate}
    return Deed(action, pause.id, after=part | {"release": given.id}, tenant=pause.selectors.tenant or "")


async def _of_round(deps: Dependencies, known: StagedRelease, close: bool = False) -> int:
    """Deliveries that the round under way has let go; `close`: it lets no more go."""
    ask = deps.releases.close if close else deps.releases.released
    return sum(await asyncio.gather(*(ask(lane, known) for lane in range(len(known.shares)))))


async def _shown(deps: Dependencies, known: StagedRelease) -> StagedReleaseAnswer:
    lanes = range(deps.releases.lanes)
    held = sum(await asyncio.gather(*(deps.releases.held(lane, known.pause) for lane in lanes)))
    return StagedReleaseAnswer(
        id=known.id,
        pause=known.pause,
        state=known.state.value,
        count=known.count or UNSET,
        rate=known.rate or UNSET,
        released=known.released + await _of_round(deps, known),
        held=held,
        created_by=known.by,
        started_at=shown(known.started_at) or "",
        ended_at=shown(known.ended_at),
    )


def _path(pause: Rule) -> str:
    return _PATH.replace("{id}", pause.id)


_ID: Final = (Parameter("id", {"type": "string", "minLength": 1}),)
_EXAMPLE: Final = f"{PATHS[Kind.PAUSE]}/$PAUSE/release"

OPERATIONS: Final = (
    Operation(
        "POST",
        _PATH,
        order,
        "releasePause",
        "Let a number of the deliveries go that a pause holds, or some at a rate, and keep the rest",
        (
            Answer(200, StagedReleaseAnswer, "as many have gone as it names, or the pause held no more"),
            Answer(202, StagedReleaseAnswer, "it is under way; look at it with GET"),
        ),
        Example(_EXAMPLE + "?wait=5s", {"count": 1000}),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        description="The pause does not hold again what it has let go; a forced error ends it all the same, and other "
        "pauses hold it. To let the rest go, lift the pause; to end the rest, convert it.",
        refusals=(404, *BODY_REFUSALS, 409),
        path_values=_ID,
        query=WaitQuery,
        body=RELEASE,
    ),
    Operation(
        "GET",
        _PATH,
        show,
        "showRelease",
        "The last release of a pause, and how far it is",
        (Answer(200, StagedReleaseAnswer, "the release"),),
        Example(_EXAMPLE),
        scope=Scope.ERRORS_READ,
        for_tenants=True,
        refusals=(404, 409),
        path_values=_ID,
    ),
    Operation(
        "DELETE",
        _PATH,
        stop,
        "stopRelease",
        "Stop the release of a pause; the pause keeps what it holds",
        (Answer(200, StagedReleaseAnswer, "it is stopped, or was over already"),),
        Example(_EXAMPLE),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        refusals=(404, 409),
        path_values=_ID,
    ),
)
