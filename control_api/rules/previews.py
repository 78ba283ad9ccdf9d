"""Previews over REST: how many deliveries a forced error would match, before it is ordered."""

import secrets
from typing import Any, Final

from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation, Parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query
from control_api.http.times import now_ms, shown
from control_api.rules.body import read_previewed
from control_api.rules.tenancy import ordered, sees
from control_api.schemas.preview_answers import Preview, PreviewCounts, PreviewProgress, SampleDelivery
from control_api.schemas.rule_bodies import PREVIEWED
from mta.model import previews
from mta.model.previews import LIFETIME, PreviewState, SampledDelivery
from mta.model.rules import Selectors
from mta.model.scopes import Scope
from mta.model.text import visible
from mta.policy.rule_effect import needs_attempt

PATH: Final = "/v1/errors/preview"


async def ask(request: web.Request) -> web.Response:
    """Count the deliveries that the rule would match. 200 at once for a rule of one tag alone, from its counters; else
    202, and the answer at its id says how far the count is."""
    read_no_query(request)
    deps = dependencies.of(request)
    now = now_ms()
    rule = ordered(read_previewed(await read_fields(request, PREVIEWED.lists()), deps.node, now), actor_of(request))
    counts = await _counters(deps, rule.selectors)
    known = None if counts is None else {name: counts.get(name, 0) for name in ("queued", "held")}
    preview = previews.Preview(
        id=secrets.token_hex(16),
        rule=rule,
        asked_at=now,
        counted=None if known is None else sum(known.values()),
        tally=previews.Tally(by_state=known or {}),
    )
    if not await deps.previews.ask(preview):
        raise Problem(429, "too many previews wait to be counted; try again", headers={"Retry-After": "1"})
    headers = {"Location": f"{PATH}/{preview.id}"}
    return json_response(_shown(preview), 202 if known is None else 200, headers)


async def show(request: web.Request) -> web.Response:
    """A preview, as far as it is counted."""
    read_no_query(request)
    found = await dependencies.of(request).previews.get(request.match_info["id"])
    if found is None or not sees(actor_of(request), found.rule):
        raise Problem(404, f"there is no preview with this id; a preview is kept for {LIFETIME:.0f} s")
    return json_response(_shown(found))


async def _counters(deps: Dependencies, chosen: Selectors) -> dict[str, int] | None:
    """The counters of exactly the selected mail. None: the selectors are more than one tag (of one tenant), or
    protected tags spare some of its mail."""
    tag, tenant = chosen.tag, chosen.tenant
    if (
        tag is None
        or chosen != Selectors(tag=tag, tenant=tenant)
        or (deps.protected_tags and tag not in deps.protected_tags)
    ):
        return None
    return await deps.books.tag(tag, tenant or "")


def _shown(preview: previews.Preview) -> Preview:
    tally, counted = preview.tally, preview.counted
    matched = tally.matched if counted is None else counted
    return Preview(
        id=preview.id,
        as_of=shown(preview.done_at or now_ms()) or "",
        state=preview.state.value,
        matched=matched,
        by=PreviewCounts(domain=tally.by_domain, pool=tally.by_pool, state=tally.by_state, age=tally.by_age),
        domains=tally.domains,
        sample=[_sampled(one) for one in tally.sample],
        preview_token=UNSET if counted is None else preview.id,
        expires_at=shown(preview.asked_at + int(LIFETIME * 1000)) or "",
        progress=_progress(preview),
        warnings=_warnings(preview),
    )


def _progress(preview: previews.Preview) -> PreviewProgress:
    eta: float | None = None
    if preview.state is PreviewState.DONE:
        eta = 0.0
    elif preview.share > 0 and preview.began_at:
        elapsed = max(1, now_ms() - preview.began_at) / 1000
        eta = round(elapsed * (1 - preview.share) / preview.share, 1)
    return PreviewProgress(seen=preview.tally.seen, share=round(preview.share, 3), eta=eta)


def _sampled(one: SampledDelivery) -> SampleDelivery:
    """Untrusted text is made visible, as in the records of a message."""
    return SampleDelivery(
        id=one.id,
        message_id=one.id.rpartition(".")[0],
        recipient=visible(one.recipient),
        sender=visible(one.sender),
        status="HELD" if one.held else "ENQUEUED",
        tags=[visible(tag) for tag in one.tags],
        tenant=one.tenant or UNSET,
        pool=one.pool,
        attempts=one.attempts,
        accepted_at=shown(one.accepted_at),
    )


def _warnings(preview: previews.Preview) -> list[str]:
    if needs_attempt(preview.rule):
        words = "the sending IP, the peer and the node of a delivery are known only at its attempt"
        return [f"{words}, so this is the count of all mail that the other selectors match: the rule may match less"]
    return []


def operations(example: dict[str, Any]) -> tuple[Operation, ...]:
    """Those of this module; `example` is the body of an order."""
    body = {name: value for name, value in example.items() if name != "reason"}
    return (
        Operation(
            "POST",
            PATH,
            ask,
            "previewForcedError",
            "Count the deliveries that a forced error would match",
            (
                Answer(200, Preview, "counted, for one tag"),
                Answer(202, Preview, "it is being counted; look at its id"),
            ),
            Example(PATH, body),
            scope=Scope.ERRORS_WRITE,
            for_tenants=True,
            description="Nothing is ordered. An order with this preview_token is refused if it matches more than the "
            "preview counted and 5 % more.",
            refusals=(*BODY_REFUSALS, 429),
            body=PREVIEWED,
        ),
        Operation(
            "GET",
            PATH + "/{id}",
            show,
            "showPreview",
            "One preview, as far as it is counted",
            (Answer(200, Preview, "the counts so far"),),
            Example(PATH + "/$PREVIEW"),
            scope=Scope.ERRORS_READ,
            for_tenants=True,
            refusals=(404,),
            path_values=(Parameter("id", {"type": "string", "minLength": 1}),),
        ),
    )
