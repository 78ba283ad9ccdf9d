"""`floodgate messages`: the status and the cancellation of one message, by its id."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.tables import instant, print_fields, print_table
from mta.http_out.api_client import ApiClient, ApiRefused

_COLUMNS = ("id", "recipient", "status", "reason", "attempts", "next_attempt", "ended_at", "uncertain", "error")
_TIMES = ("next_attempt", "ended_at")


@commands.group(help="Show or cancel one message, by the id in its 250 reply.")
def command() -> None:
    pass


@command.command(help="Show the status of a message and of each of its recipients.")
@click.argument("message_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(message_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        _print((await client.ask("GET", _path(message_id))).body, as_json)
        return remote.DONE

    remote.run(work)


@command.command(help="Cancel one message. Recipients that it was sent to keep it.")
@click.argument("message_id", metavar="ID")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="How long to wait for the worker that has it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cancel(message_id: str, wait: float, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        path, params = _path(message_id) + "/cancel", [("wait", f"{wait:g}")]
        try:
            answer = await client.ask("POST", path, params, within=wait + 30.0)
        except ApiRefused as refused:
            if refused.status != 409:
                raise
            _print(refused.body, as_json)
            remote.say(f"not canceled: {_why(refused.body)}")
            return remote.FAILED
        _print(answer.body, as_json)
        if answer.status == 202:
            until = answer.body["effective_by"]
            remote.say(f"the worker that has the message has not answered yet; it sends nothing of it after {until}")
            return remote.NOT_YET
        return remote.DONE

    remote.run(work)


def _path(message_id: str) -> str:
    return f"/v1/messages/{quote(message_id, safe='')}"


def _why(record: Mapping[str, Any]) -> str:
    ended = max((recipient.get("ended_at", "") for recipient in record["recipients"]), default="")
    reason = f" ({record['reason']})" if "reason" in record else ""
    return f"the message is {record['status']}{reason}" + (f" since {ended}" if ended else "")


def _print(record: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        remote.out_json(record)
        return
    print_fields({name: value for name, value in record.items() if name not in ("recipients", "error", "reason")})
    print_table(_COLUMNS, [[_cell(recipient, name) for name in _COLUMNS] for recipient in record["recipients"]])


def _cell(recipient: Mapping[str, Any], name: str) -> object:
    value = recipient.get(name)
    if name in _TIMES:
        return instant(value)
    return " ".join(str(part) for part in value.values()) if isinstance(value, dict) else value
