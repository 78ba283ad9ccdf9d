"""The state of a webhook endpoint in one word."""

from typing import Final, Literal

from mta.model.webhooks import Endpoint, EndpointFigures

State = Literal["active", "failing", "disabled", "waiting"]

_SILENT_MS: Final = 15_000  # after which figures are old: no process serves the endpoint


def state_of(endpoint: Endpoint, figures: EndpointFigures | None, now: int) -> tuple[State, str]:
    """The state, and the reason of one other than active; `now` is Unix ms."""
    if endpoint.disabled_at:
        return "disabled", endpoint.disabled_reason
    if figures is None:
        return "waiting", "no process has served it yet"
    if now - figures.told_at > _SILENT_MS:
        return "waiting", "no process serves it"
    if figures.waiting:
        return "waiting", figures.waiting
    return ("failing", figures.last_failure_text) if figures.failing else ("active", "")


def is_replaying(endpoint: Endpoint, figures: EndpointFigures | None) -> bool:
    """Whether a replay is under way, or was ordered and is not begun yet."""
    begun = figures.replayed if figures is not None else 0
    waits = endpoint.replay is not None and endpoint.replay.number > begun
    return waits or (figures is not None and figures.replay > 0)
