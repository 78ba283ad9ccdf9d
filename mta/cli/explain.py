"""`floodgate explain`: which rule decides about mail, why each other does not, and what else holds it up."""

from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.options import AS_JSON
from mta.cli.tables import age, instant, print_table
from mta.http_out.api_client import ApiClient

_COLUMNS = ("rule", "matches", "selectors", "effect", "why")


@commands.command(help="Say which rule decides about mail, why each other does not, and which limits hold it up.")
@click.option("--pool", required=True, help="The pool of the mail.")
@click.option("--domain", required=True, help="The domain of its recipients.")
@click.option("--tag", "tags", multiple=True, help="A tag that it carries; may be repeated.")
@click.option("--tenant", help="The account that it came in for.")
@click.option("--mta", help="The sending IP of an attempt.")
@click.option("--limit", type=click.IntRange(1), default=20, help="Explain at most so many rules (default 20).")
@click.option("--all", "everything", is_flag=True, help="Explain all of them, up to 10,000.")
@AS_JSON
def command(tags: tuple[str, ...], limit: int, everything: bool, as_json: bool, **given: str | None) -> None:
    asked = list(remote.without_unset(**given).items()) + [("tag", tag) for tag in tags]
    asked.append(("limit", str(10_000 if everything else limit)))

    async def work(client: ApiClient) -> int:
        answer = (await client.ask("GET", "/v1/explain", asked)).body
        if as_json:
            remote.out_json(answer)
            return remote.DONE
        for line in _sentences(answer):
            click.echo(line)
        if answer["rules"]:
            click.echo()
            print_table(_COLUMNS, [_row(rule) for rule in answer["rules"]])
        if answer["others"]:
            remote.say(f"{answer['others']} more rules do not match; give --limit or --all for them")
        return remote.DONE

    remote.run(work)


def _sentences(answer: Mapping[str, Any]) -> list[str]:
    decides = answer["decides"]
    found = [f"Rule {decides} decides: {answer['effect']}." if decides else "No rule matches: it is delivered."]
    found += [_limit(limit) for limit in answer["limits"]]
    if not answer["limits"]:
        found.append("No limit is set for this pool and domain.")
    queue = answer["queue"]
    if queue is None:
        return [*found, "Nothing waits in its queue."]
    waiting = f"{queue['due']} due, {queue['scheduled']} later, {queue['claimed']} claimed, {queue['held']} held"
    oldest = age(queue["oldest"])
    found.append(f"Its queue: {waiting}" + (f", the oldest for {oldest}." if oldest else "."))
    if answer["next_attempt"]:
        found.append(f"The next attempt is due at {instant(answer['next_attempt'])}.")
    return found + [f"{each['count']} {each['text']}." for each in queue["why"]]


def _limit(limit: Mapping[str, Any]) -> str:
    used = "" if limit["used"] is None else f", {limit['used']} in use"
    binds = ""
    if limit["binds"]:
        binds = "; it holds mail up now" + (f", until {limit['free_at']}" if limit["free_at"] else "")
    return f"Limit {limit['setting']} = {limit['value']:g}{used}{binds}."


def _row(rule: Mapping[str, Any]) -> list[object]:
    matches = "decides" if rule["decides"] else rule["matches"]
    return [rule["rule"], matches, rule["selectors"], rule["effect"], "; ".join(rule["why"])]
