"""`floodgate queues`: the waiting mail, and orders about it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click
from rich.console import Console

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.repeated_order import answers, selection
from mta.cli.tables import age, instant, print_fields, print_table
from mta.http_out.api_client import ApiClient

_COUNTS = ("pool", "domain", "due", "scheduled", "claimed", "held", "parked")
_COLUMNS = (*_COUNTS, "oldest", "next due", "rate", "last reply", "why")
_LIMIT_COLUMNS = ("setting", "value", "in use", "holds mail up", "until")
_MAIL_COLUMNS = ("id", "recipient", "pool", "next attempt", "attempts", "last error")
_PLAIN_LOOK: Final = 2.0  # seconds between lines where nobody watches

POOL = click.option("--pool", help="Queues of exactly this pool.")
DOMAIN = click.option("--domain", help="Queues of exactly this domain.")
SITE = click.option("--site", help="Queues of the domains of exactly this site.")
TAG = click.option("--tag", help="Mail that carries exactly this tag.")
TENANT = click.option("--tenant", help="Mail of this account.")
EVERYTHING = click.option("--everything", is_flag=True, help="All waiting mail; needed where nothing else selects.")

Command = Callable[..., Any]
Report = Callable[[Mapping[str, int]], None]


@commands.group(help="The queues of the cluster: list, messages, retry, move, shape.")
def command() -> None:
    pass


def selecting(function: Command) -> Command:
    """The options that select waiting mail; all that are given must match."""
    for option in (TENANT, TAG, SITE, DOMAIN, POOL):
        function = option(function)
    return function


@command.command("list", help="List the queues: their counts, how much of them pauses hold, and why the mail waits.")
@selecting
@LIMIT
@ALL
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool, **selectors: str | None) -> None:
    async def work(client: ApiClient) -> int:
        filters = remote.without_unset(**selectors)
        queues, more = await remote.pages(client, "/v1/queues", filters, limit, everything, "queues")
        return print_list(queues, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="List the queued deliveries: next attempt, attempts so far, last error.")
@selecting
@LIMIT
@ALL
@AS_JSON
def messages(limit: int, everything: bool, as_json: bool, **selectors: str | None) -> None:
    async def work(client: ApiClient) -> int:
        filters = remote.without_unset(**selectors)
        found, more = await remote.pages(client, "/v1/queues/messages", filters, limit, everything, "messages")
        return print_list(found, more, as_json, _MAIL_COLUMNS, _mail_row)

    remote.run(work)


@command.command(help="Make waiting mail due now, after an outage of its destination.")
@selecting
@EVERYTHING
@AS_JSON
def retry(as_json: bool, everything: bool, **selectors: str | None) -> None:
    body = _body(selectors, everything)
    remote.run(lambda client: _work(client, "/v1/queues/retry", body, as_json, "due now"))


@command.command(help="Move queued and held mail to the queues of another pool.")
@selecting
@click.option("--to-pool", required=True, help="The pool that it goes to; a node must serve it.")
@EVERYTHING
@AS_JSON
def move(to_pool: str, as_json: bool, everything: bool, **selectors: str | None) -> None:
    body = _body(selectors, everything) | {"to_pool": to_pool}
    remote.run(lambda client: _work(client, "/v1/queues/move", body, as_json, f"moved to pool {to_pool}"))


@command.command(help="Show the limits and the retries in force for a pool and domain, and which limit holds mail up.")
@click.option("--pool", default="default", show_default=True, help="The pool.")
@click.option("--domain", required=True, help="The domain.")
@AS_JSON
def shape(pool: str, domain: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        answer = (await client.ask("GET", "/v1/limits", [("pool", pool), ("domain", domain)])).body
        if as_json:
            remote.out_json(answer)
            return remote.DONE
        if answer["limits"]:
            print_table(_LIMIT_COLUMNS, [_limit_row(limit) for limit in answer["limits"]])
        else:
            click.echo(f"no limit is set for {answer['domain']}; see [sites] and [domains] in the settings")
        attempts = answer["max_attempts"] or "no limit"
        retries = ", ".join(f"{seconds:g}s" for seconds in answer["retries"])
        ceiling = answer["ceiling"] or "none"
        print_fields({"site": answer["site"], "ceiling now": ceiling, "retries": retries, "attempts": attempts})
        return remote.DONE

    remote.run(work)


def _limit_row(limit: Mapping[str, Any]) -> list[object]:
    free_at = instant(limit["free_at"])
    return [limit["setting"], f"{limit['value']:g}", limit["used"], limit["binds"], free_at]


def _body(selectors: Mapping[str, str | None], everything: bool) -> dict[str, Any]:
    advice = "select the mail with --pool, --domain, --site, --tag or --tenant, or give --everything"
    return selection(remote.without_unset(**selectors), everything, advice)


async def _work(client: ApiClient, path: str, body: dict[str, Any], as_json: bool, done: str) -> int:
    """Call until nothing is left to do, and tell meanwhile how far it is."""
    sums = {"moved": 0, "seen": 0, "kept": 0}
    with _progress(as_json, done) as report:
        async for answer in answers(client, "POST", path, body):
            sums = {name: count + answer[name] for name, count in sums.items()}
            if answer["cursor"] is not None:
                report(sums)
    if as_json:
        remote.out_json(sums)
        return remote.DONE
    click.echo(f"{sums['moved']} of {sums['seen']} selected deliveries are {done}")
    if sums["kept"]:
        click.echo(
            f"{sums['kept']} stay where they are, because a rule ends or holds such mail; see: floodgate explain"
        )
    return remote.DONE


@contextlib.contextmanager
def _progress(silent: bool, done: str) -> Iterator[Report]:
    """One line that changes on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if silent:
        yield lambda sums: None
    elif console.is_terminal:
        with console.status("reading the queues") as status:
            yield lambda sums: status.update(f"{sums['moved']} {done}, {sums['seen']} looked at")
    else:
        yield _plain(done)


def _plain(done: str) -> Report:
    due = time.monotonic()

    def tell(sums: Mapping[str, int]) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _PLAIN_LOOK
            click.echo(f"{sums['moved']} {done}, {sums['seen']} looked at", err=True)

    return tell


def _row(queue: Mapping[str, Any]) -> list[object]:
    """`oldest` is the age of the oldest mail; `next due` is the due time of the first delivery that is not held; `rate`
    is in deliveries a minute."""
    why = "; ".join(f"{each['count']} {each['text']}" for each in queue["why"])
    reply = queue.get("last_reply", {})
    last = " ".join(str(reply[part]) for part in ("code", "enhanced", "text") if part in reply)
    rate = None if queue["rate"] is None else f"{queue['rate']:g}"
    return [
        *(queue[column] for column in _COUNTS), age(queue["oldest"]), instant(queue["next_due"]), rate, last, why,
    ]  # fmt: skip


def _mail_row(record: Mapping[str, Any]) -> list[object]:
    error = " ".join(str(part) for part in record.get("error", {}).values())
    next_attempt = instant(record.get("next_attempt"))
    return [record["id"], record["recipient"], record["pool"], next_attempt, record["attempts"], error]
