"""Orders about waiting and parked mail: each call works for a while, and is repeated until nothing is left to do."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import click

from mta.cli import remote
from mta.http_out.api_client import ApiClient

_STEP: Final = "2s"  # how long one call works before it tells how far it is


def selection(given: Mapping[str, Any], everything: bool, advice: str) -> dict[str, Any]:
    """The selectors of the order. Raises UsageError with `advice` where nothing is selected."""
    if not given and not everything:
        raise click.UsageError(advice)
    return {**given, "everything": True} if everything else dict(given)


async def answers(client: ApiClient, method: str, path: str, selectors: Mapping[str, Any]) -> AsyncIterator[Any]:
    """The answer to each call. A POST has the selectors in its body, a DELETE in its query string."""
    cursor: str | None = None
    while True:
        asked = {**selectors, **remote.without_unset(cursor=cursor)}
        params = [("wait", _STEP)]
        if method == "DELETE":
            params += [(name, one) for name, value in asked.items() for one in _texts(value)]
        answer = (await client.ask(method, path, params, asked if method == "POST" else None, within=60.0)).body
        yield answer
        cursor = answer["cursor"]
        if cursor is None:
            return


def _texts(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return value if isinstance(value, list) else [value]
