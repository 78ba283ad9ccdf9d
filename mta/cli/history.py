"""`floodgate history`: gives up events that history waits for and that a lost node had."""

import click

from mta.cli import commands, remote
from mta.http_out.api_client import ApiClient


@commands.group(help="History: skip.")
def command() -> None:
    pass


@command.command(help="Give up the events of a lane that history waits for; it shows a Gap. LANE: as the log names it.")
@click.argument("lane", metavar="LANE")
def skip(lane: str) -> None:
    async def work(client: ApiClient) -> int:
        await client.ask("POST", "/v1/history/skip", body={"lane": lane})
        remote.say(f"history goes on without the events of lane {lane} that it waits for")
        return remote.DONE

    remote.run(work)
