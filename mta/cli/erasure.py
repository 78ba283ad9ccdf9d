"""`floodgate log forget`: an address is erased from history."""

import asyncio
import time
from typing import Any, Final

import click

from mta.cli import commands, remote
from mta.cli.options import AS_JSON
from mta.http_out.api_client import ApiClient

_LOOK: Final = 1.0  # seconds


@commands.command("forget", help="Erase ADDRESS from history, and name the logs that still have it.")
@click.argument("address", metavar="ADDRESS")
@click.option("--wait", callback=remote.seconds, default="10m", help="How long to wait for the journals.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
def forget(address: str, wait: float, yes: bool, as_json: bool) -> None:
    if not yes:
        if not remote.is_terminal():
            raise click.UsageError("nothing brings back what is erased; without a terminal, confirm it with --yes")
        click.confirm(f"History forgets {address}, and nothing brings it back. Go on?", abort=True)

    async def work(client: ApiClient) -> int:
        end = time.monotonic() + wait
        answer = (await client.ask("POST", "/v1/history/forget", [("wait", "2s")], body={"address": address})).body
        while answer["state"] != "done" and time.monotonic() < end:
            await asyncio.sleep(_LOOK)
            answer = (await client.ask("GET", f"/v1/history/forget/{answer['id']}")).body
        _print(answer, as_json)
        return remote.DONE if answer["state"] == "done" else remote.NOT_YET

    remote.run(work)


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        remote.out_json(answer)
        return
    remote.say(f"erased; deliveries: {answer['deliveries']}, events: {answer['events']}")
    for log in answer["log_files"]:
        remote.say(f"still in the log of {log['node']}: {log['path']}")
    if answer["state"] != "done":
        remote.say(f"the journals of {', '.join(answer.get('waiting', ()))} have not answered yet")
