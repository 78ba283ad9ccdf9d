"""`floodgate freeze`: hold all queued mail of a tag everywhere, and account for it."""

from typing import Any

import click

from mta.cli import commands, follow, remote
from mta.cli.options import AS_JSON
from mta.cli.rules import DETAIL, PAUSES, REASON, after_freeze
from mta.cli.selection import ALLOW_EMPTY, QUEUED_ONLY, TAG, given, narrowing, recurring, refused_as_empty
from mta.http_out.api_client import ApiClient


@commands.command(help="Hold all queued mail of a tag on every node, and print the account.")
@TAG
@narrowing
@QUEUED_ONLY
@recurring
@REASON
@click.option("--duration", help="How long, such as 30m; without it until somebody thaws it.")
@ALLOW_EMPTY
@DETAIL
@AS_JSON
def command(allow_empty: bool, detail: bool, as_json: bool, **fields: Any) -> None:
    body = given(fields)

    async def work(client: ApiClient) -> int:
        if await refused_as_empty(client, body, allow_empty):
            return remote.FAILED
        return await follow.order(client, PAUSES, body, detail, as_json, after_freeze)

    remote.run(work)
