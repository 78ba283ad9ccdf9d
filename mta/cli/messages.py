"""`floodgate messages`: messages listed, shown, canceled, read and sent again."""

from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import OUTPUT, filters, list_deliveries, params_of, write_out
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import cell, instant, print_fields, print_table
from mta.cli.tail import line_of
from mta.http_out.api_client import ApiClient, ApiRefused

_COLUMNS = ("id", "recipient", "status", "reason", "attempts", "next_attempt", "ended_at", "uncertain", "error")
_TIMES = ("next_attempt", "ended_at")


@commands.group(help="Messages: show, cancel, list, history, content, resend; by the id in the 250 reply.")
def command() -> None:
    pass


@command.command(help="Show the status of a message and of each of its recipients, or of one delivery.")
@click.argument("message_id", metavar="ID")
@AS_JSON
def show(message_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        _print((await client.ask("GET", _path(message_id))).body, as_json)
        return remote.DONE

    remote.run(work)


@command.command(help="Cancel one message, or one delivery (ID.N). Recipients that it was sent to keep it.")
@click.argument("message_id", metavar="ID")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="How long to wait for the worker that has it."
)
@AS_JSON
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
            remote.say(f"the worker that has it has not answered yet; it sends nothing of it after {until}")
            return remote.NOT_YET
        return remote.DONE

    remote.run(work)


@command.command("list", help="List deliveries with their last state, the newest first.")
@filters
@LIMIT
@ALL
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool, **wanted: Any) -> None:
    remote.run(lambda client: list_deliveries(client, params_of(**wanted), limit, everything, as_json))


@command.command(help="Print every event of a message, and the SMTP session of its last attempt that failed.")
@click.argument("message_id", metavar="ID")
@AS_JSON
def history(message_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        events = (await client.ask("GET", _path(message_id) + "/history")).body["events"]
        if as_json:
            remote.out_json(events)
            return remote.DONE
        for event in events:
            click.echo(line_of(event))
            for line in event.get("dialogue", ()):
                click.echo(f"    {cell(line)}")
        return remote.DONE

    remote.run(work)


@command.command(help="Write the content of a message as it is sent, while the store has it.")
@click.argument("message_id", metavar="ID")
@OUTPUT
def content(message_id: str, output: BinaryIO) -> None:
    remote.run(lambda client: write_out(client, _path(message_id) + "/content", (), output))


@command.command(help="Send a message that was stopped once more, as a new message of the same content.")
@click.argument("message_id", metavar="ID")
@AS_JSON
def resend(message_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        made = (await client.ask("POST", _path(message_id) + "/resend")).body
        if as_json:
            remote.out_json(made)
        else:
            for one in made["recipients"]:
                click.echo(f"{one['id']}  {cell(one['recipient'])}")
        return remote.DONE

    remote.run(work)


def _path(message_id: str) -> str:
    return f"/v1/messages/{quote(message_id, safe='')}"


def _why(record: Mapping[str, Any]) -> str:
    ended = max((recipient.get("ended_at", "") for recipient in _recipients(record)), default="")
    reason = f" ({record['reason']})" if "reason" in record else ""
    noun = "message" if "recipients" in record else "delivery"
    return f"the {noun} is {record['status']}{reason}" + (f" since {ended}" if ended else "")


def _recipients(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of a message; a delivery is its own."""
    whole: list[Mapping[str, Any]] = record.get("recipients", [record])
    return whole


def _print(record: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        remote.out_json(record)
        return
    whole = "recipients" in record
    left_out = ("recipients", "error", "reason") if whole else (*_COLUMNS, "forced", "metadata", "cancel_asked_at")
    print_fields({name: value for name, value in record.items() if name not in left_out})
    print_table(_COLUMNS, [[_cell(recipient, name) for name in _COLUMNS] for recipient in _recipients(record)])


def _cell(recipient: Mapping[str, Any], name: str) -> object:
    value = recipient.get(name)
    if name in _TIMES:
        return instant(value)
    return " ".join(str(part) for part in value.values()) if isinstance(value, dict) else value
