"""An order followed to its end: made, effective everywhere, swept, and accounted for."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mta.cli import remote
from mta.cli.rules import PAUSES, Family, is_over, show_effect
from mta.cli.tables import print_account, selectors_of
from mta.http_out.api_client import ApiClient

WAIT = 10.0  # seconds; with the default rules.max_staleness every order is effective within 5.5
LOOK = 0.25
_PLAIN_LOOK = 2.0  # seconds between lines where nobody watches

Report = Callable[[dict[str, Any]], None]
After = Callable[[dict[str, Any], dict[str, Any]], list[str]]  # of rule and statement


async def order(
    client: ApiClient, family: Family, body: dict[str, Any], detail: bool, as_json: bool, after: After
) -> int:
    """Order, wait, follow the sweep, print the statement, then the lines of `after`; the exit status."""
    answer = await client.ask("POST", family.path, [("wait", f"{WAIT:g}")], body, within=WAIT + 30.0)
    rule = answer.body
    path = family.of(rule["id"])
    if not as_json:
        click.echo(f"rule {rule['id']}")
        show_effect(rule)
    if rule.get("bound", {}).get("state") == "counting":
        rule = await _until_decided(client, path, as_json)
    elif answer.status == 202:
        if as_json:
            remote.out_json({"rule": rule, "statement": None})
        else:
            again = f"floodgate {family.path.rpartition('/')[2]} show {rule['id']}"
            remote.say(f"not effective everywhere yet; look again with: {again}")
        return remote.NOT_YET
    with _progress(as_json, family is PAUSES) as report:
        statement = await _until_complete(client, path, report)
    rule = (await client.ask("GET", path)).body
    if as_json:
        remote.out_json({"rule": rule, "statement": statement})
    else:
        print_account(statement, detail)
        for line in after(rule, statement):
            click.echo(line)
    for line in await _doubts(client, rule, statement):
        remote.say(line)
    if statement["balanced"] is not True:
        remote.say("the account does not balance")
        return remote.FAILED
    return remote.DONE


async def _until_decided(client: ApiClient, path: str, silent: bool) -> dict[str, Any]:
    """The forced error, once an order with a bound has become it. Raises ApiRefused: the order matches too much."""
    while True:
        await asyncio.sleep(LOOK)
        rule: dict[str, Any] = (await client.ask("GET", path)).body
        if rule["effective"]:
            if not silent:
                show_effect(rule)
            return rule


async def _doubts(client: ApiClient, rule: dict[str, Any], statement: dict[str, Any]) -> list[str]:
    """Whether the account means less than it seems to, because the rule has met nothing."""
    if rule["hits"] or is_over(rule, statement):
        return []
    tag = rule["tag"]
    waiting = (await client.ask("GET", "/v1/tags", [("tag", tag)])).body["queued"]
    if not waiting:
        return []
    if _acts_at_attempt(rule):
        words = "the rule acts at the next attempt of each, since the peer and the sending IP are known only then"
        return [f"nothing is ended or held yet: {waiting} of tag {tag} still queue, and {words}"]
    chosen = selectors_of(rule)
    return [
        f"no waiting mail matches {chosen}: {waiting} of tag {tag} still queue; check the spelling of each selector"
    ]


def _acts_at_attempt(rule: dict[str, Any]) -> bool:
    """Whether no sweep belongs to the rule."""
    return any(name in rule for name in ("mta", "ip", "mx", "node"))


async def _until_complete(client: ApiClient, path: str, report: Report) -> dict[str, Any]:
    while True:
        statement: dict[str, Any] = (await client.ask("GET", path + "/statement")).body
        report(statement)
        if statement["complete"] is not False:  # null: no sweep belongs to the rule
            return statement
        await asyncio.sleep(LOOK)


@contextlib.contextmanager
def _progress(silent: bool, holds: bool) -> Iterator[Report]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if silent:
        yield lambda statement: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("sweep", total=None, counts="")

            def draw(statement: dict[str, Any]) -> None:
                done = sum(statement["intercepted"].values()) + statement["held"]
                total = done + statement["queued"]
                progress.update(task, total=total or None, completed=done, counts=_counts(statement, holds))

            yield draw
    else:
        yield _plain(holds)


def _plain(holds: bool) -> Report:
    loop = asyncio.get_running_loop()
    due = loop.time()

    def tell(statement: dict[str, Any]) -> None:
        nonlocal due
        if statement["complete"] is not False or loop.time() >= due:
            due = loop.time() + _PLAIN_LOOK
            click.echo(f"sweep {_counts(statement, holds)}", err=True)

    return tell


def _counts(statement: dict[str, Any], holds: bool) -> str:
    """`holds`: the rule is a pause, which ends nothing."""
    sweep = statement.get("sweep") or {"state": "none", "seen": 0}
    done = {"held": statement["held"]} if holds else {"intercepted": sum(statement["intercepted"].values())}
    if statement["held"]:
        done["held"] = statement["held"]
    counts = ", ".join(f"{many} {name}" for name, many in done.items())
    return f"{sweep['state']}: {sweep['seen']} seen, {counts}, {statement['queued']} still queued"
