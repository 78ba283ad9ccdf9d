"""`floodgate cancel`: the main job in one verb: end all queued mail of a tag everywhere, and account for it."""

from typing import Any

import click

from mta.cli import commands, follow, remote
from mta.cli.options import AS_JSON
from mta.cli.preview import show_before_asking
from mta.cli.rules import DETAIL, ERRORS, MAX_MATCHES, REASON, YES, after_cancel
from mta.cli.selection import ALLOW_EMPTY, QUEUED_ONLY, TAG, given, narrowing, refused_as_empty
from mta.cli.tables import selectors_of
from mta.http_out.api_client import ApiClient

_ANSWER = {"code": 554, "extended": "5.7.1", "description": "canceled by order of the sender"}


@commands.command(help="Cancel all queued mail of a tag on every node, and print the account.")
@TAG
@narrowing
@QUEUED_ONLY
@MAX_MATCHES
@REASON
@ALLOW_EMPTY
@YES
@DETAIL
@AS_JSON
def command(allow_empty: bool, yes: bool, detail: bool, as_json: bool, **fields: Any) -> None:
    if not yes and not remote.is_terminal():
        raise click.UsageError("this order ends mail; without a terminal, confirm it with --yes")
    body = {**_ANSWER, **given(fields)}

    async def work(client: ApiClient) -> int:
        if await refused_as_empty(client, body, allow_empty):
            return remote.FAILED
        if not yes:
            await _ask(client, body)
        return await follow.order(client, ERRORS, body, detail, as_json, after_cancel)

    remote.run(work)


async def _ask(client: ApiClient, body: dict[str, Any]) -> None:
    await show_before_asking(client, body)
    narrowed = selectors_of({name: value for name, value in body.items() if name != "tag"}, otherwise="")
    narrowed = f" with {narrowed}" if narrowed else ""
    click.confirm(f"Cancel what is queued of {body['tag']}{narrowed}?", abort=True)
