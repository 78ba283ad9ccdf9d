"""A command's talk with the REST API: where it is, which token it wants, and the exit status of each way it can end."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

import click

from mta.cli.api_url import BadUrl, data_dir, find_url
from mta.http_out.api_client import Answer, ApiAway, ApiClient, ApiRefused
from mta.model.errors import BadValue
from mta.model.units import parse_duration

DEFAULT_WAIT = "10s"  # longer than it takes until every order is effective

DONE, FAILED, USAGE, NOT_YET, AWAY = range(5)  # exit statuses, see docs/operations.md

Work = Callable[[ApiClient], Awaitable[int]]


def run(work: Work) -> NoReturn:
    """Do `work` with a connected client and exit with the status that it returns."""
    try:
        status = asyncio.run(_with_client(work))
    except ApiRefused as refused:
        say(str(refused))
        status = FAILED
    except ApiAway as away:
        say(str(away))
        status = AWAY
    except BadUrl as bad:
        say(str(bad))
        status = USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone
        status = FAILED
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def say(line: str) -> None:
    """One line for a person, on standard error."""
    click.echo(f"floodgate: {line}", err=True)


def out_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


async def _with_client(work: Work) -> int:
    """Raises BadUrl, ApiRefused, and ApiAway that says where the URL came from."""
    where = find_url(os.environ)
    async with ApiClient(where.url, find_token(os.environ)) as client:
        try:
            return await work(client)
        except ApiAway as away:
            raise ApiAway(f"{away} ({where.source}; {where.advice})") from away


def find_token(environ: Mapping[str, str]) -> str:
    """FLOODGATE_TOKEN, else the token that the node on this machine keeps for its administrator. Raises ApiRefused."""
    given = environ.get("FLOODGATE_TOKEN", "").strip()
    if given:
        return _sendable(given, "FLOODGATE_TOKEN")
    path = data_dir(environ) / "admin.token"
    try:
        return _sendable(path.read_text().strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ApiRefused(
            401, f"no token: FLOODGATE_TOKEN is not set, and {path} cannot be read ({reason})", None
        ) from error


def _sendable(token: str, source: str) -> str:
    """`token`, if a header can carry it; it is never shown."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ApiRefused(401, f"no token: {source} holds none; a token is one word of printable ASCII characters", None)
    return token


def seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """The callback of an option that is a duration."""
    try:
        return parse_duration(value, parameter.name or "")
    except BadValue as bad:
        raise click.BadParameter(bad.reason) from None


def without_unset(**options: Any) -> dict[str, Any]:
    """Only the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


async def pages(
    client: ApiClient,
    path: str,
    params: Mapping[str, str] | Sequence[tuple[str, str]],
    limit: int,
    everything: bool,
    key: str | None = None,
) -> tuple[list[Any], bool]:
    """Items of a list (the answer itself, or its `key`) and whether there are more than were asked for."""
    wanted = [*params.items()] if isinstance(params, Mapping) else [*params]
    found: list[Any] = []
    cursor: str | None = None
    while True:
        size = 1000 if everything else min(1000, limit - len(found))
        place = [] if cursor is None else [("cursor", cursor)]
        answer: Answer = await client.ask("GET", path, [*wanted, ("limit", str(size)), *place])
        found += answer.body if key is None else answer.body[key]
        if key is not None and (why := answer.body.get("older_missing")):
            say(f"older entries are missing: {why}")
        cursor = answer.next if key is None else answer.body["cursor"]
        if cursor is None or (not everything and len(found) >= limit):
            return found, cursor is not None


def is_terminal() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()
