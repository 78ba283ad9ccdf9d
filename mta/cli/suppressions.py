"""`floodgate suppressions`: recipients to which no mail is sent."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, BinaryIO, Final

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import AS_JSON
from mta.cli.tables import instant, print_fields
from mta.http_out.api_client import ApiClient

_PATH: Final = "/v1/suppressions"
_COLUMNS = ("recipient", "reason", "tenant", "topic", "expires", "made", "by", "note")
_REASONS = click.Choice(["unsubscribe", "complaint", "hard_bounce", "manual"])
_PIECE: Final = 64 * 1024  # bytes of a file that are sent at a time
_SHOWN_ERRORS: Final = 20

Command = Callable[..., Any]


@commands.group(help="Recipients to which no mail is sent.")
def command() -> None:
    pass


def _filters(command: Command) -> Command:
    """The options that select suppressions; all that are given must match."""
    for option in reversed(
        (
            click.option("--address", help="Exactly this address, without case."),
            click.option("--domain", help="This domain, and addresses of it."),
            click.option("--tenant", help="Those of this tenant."),
            click.option("--topic", help="Exactly this topic."),
            click.option("--reason", type=_REASONS, help="Exactly this reason."),
            click.option("--from", "since", help="Made at this time or later, in RFC 3339."),
            click.option("--until", help="Made before this time."),
            click.option("--text", help="This text in the address, domain or note."),
        )
    ):
        command = option(command)
    return command


def _asked(since: str | None = None, **given: str | None) -> list[tuple[str, str]]:
    return list(remote.without_unset(**given, **{"from": since}).items())


@command.command("list", help="List suppressions.")
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=100, help="Show at most so many (default 100).")
@click.option("--all", "everything", is_flag=True, help="Show all.")
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool, **given: str | None) -> None:
    async def work(client: ApiClient) -> int:
        found, more = await remote.pages(client, _PATH, _asked(**given), limit, everything, "suppressions")
        return print_list(found, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Send no mail to an address, or to every address of a domain.")
@click.argument("recipient", metavar="ADDRESS|DOMAIN")
@click.option("--tenant", help="Only mail of this tenant.")
@click.option("--topic", help="Only mail with this topic.")
@click.option("--reason", type=_REASONS, help="Why (default manual).")
@click.option("--expires", help='Until this time in RFC 3339, or for so long: "+30d".')
@click.option("--note", help="For people.")
@AS_JSON
def add(recipient: str, expires: str | None, as_json: bool, **given: str | None) -> None:
    name = "address" if "@" in recipient else "domain"
    body = remote.without_unset(**given, **{name: recipient, "expires_at": expires})

    async def work(client: ApiClient) -> int:
        made = (await client.ask("POST", _PATH, [("wait", remote.DEFAULT_WAIT)], body)).body
        remote.out_json(made) if as_json else print_fields(made)
        return remote.DONE if made["effective"] else remote.NOT_YET

    remote.run(work)


@command.command(help="Remove the suppressions that the options select; an address or a domain may stand alone.")
@click.argument("recipient", metavar="[ADDRESS|DOMAIN]", required=False)
@_filters
@click.option("--dry-run", is_flag=True, help="Count them and remove none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
def remove(recipient: str | None, dry_run: bool, yes: bool, as_json: bool, **given: str | None) -> None:
    if recipient is not None:
        name = "address" if "@" in recipient else "domain"
        if given[name] is not None:
            raise click.UsageError(f"{recipient} and --{name} both name a recipient; give one of them")
        given[name] = recipient
    asked = _asked(**given)
    if not asked:
        raise click.UsageError("no option is given, which would remove all suppressions; give one")

    async def work(client: ApiClient) -> int:
        if dry_run or not (yes or given["address"] is not None):
            found = (await client.ask("DELETE", _PATH, [*asked, ("dry_run", "true")], within=600)).body
            if dry_run:
                return _said(found, as_json, f"{found['matched']} match")
            if not remote.is_terminal():
                remote.say(f"{found['matched']} match; give --yes to remove them")
                return remote.FAILED
            click.confirm(f"remove {found['matched']}?", abort=True)
        found = (await client.ask("DELETE", _PATH, asked, within=600)).body
        return _said(found, as_json, f"removed {found['removed']}")

    remote.run(work)


@command.command("import", help="Make the suppressions of a file: NDJSON, or CSV whose first line names the columns.")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--format", "kind", type=click.Choice(["ndjson", "csv"]), help="Default: by the name of the file.")
@AS_JSON
def import_(file: BinaryIO, kind: str | None, as_json: bool) -> None:
    is_csv = kind == "csv" if kind else str(getattr(file, "name", "")).endswith(".csv")
    media = "text/csv" if is_csv else "application/x-ndjson"

    async def pieces() -> AsyncIterator[bytes]:
        while piece := file.read(_PIECE):
            yield piece

    async def work(client: ApiClient) -> int:
        done = (await client.send(f"{_PATH}/import", [("wait", remote.DEFAULT_WAIT)], media, pieces())).body
        for error in () if as_json else done["errors"][:_SHOWN_ERRORS]:
            remote.say(f"line {error['line']}: {error['field'] or 'row'}: {error['message']}")
        words = f"{done['added']} added, {done['replaced']} replaced, {done['refused']} refused of {done['rows']} rows"
        status = _said(done, as_json, words)
        if done["refused"]:
            return remote.FAILED
        return status if done["effective"] else remote.NOT_YET

    remote.run(work)


@command.command(help="Write suppressions to standard output.")
@_filters
@click.option("--format", "kind", type=click.Choice(["ndjson", "csv"]), default="ndjson", help="Default ndjson.")
def export(kind: str, **given: str | None) -> None:
    async def work(client: ApiClient) -> int:
        async for piece in client.stream(f"{_PATH}/export", [*_asked(**given), ("format", kind)]):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return remote.DONE

    remote.run(work)


def _said(answer: Any, as_json: bool, words: str) -> int:
    remote.out_json(answer) if as_json else click.echo(words)
    return remote.DONE


def _row(item: Mapping[str, Any]) -> list[object]:
    return [
        item.get("address") or item["domain"],
        item["reason"],
        item.get("tenant", ""),
        item.get("topic", ""),
        instant(item["expires_at"]) if "expires_at" in item else "",
        instant(item["created_at"]),
        item.get("created_by", ""),
        item.get("note", ""),
    ]
