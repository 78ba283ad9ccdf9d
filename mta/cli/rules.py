"""The parts that the commands for forced errors and for pauses share: options, waiting, and how a rule is shown."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import click

from mta.cli import remote
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.selection import Command, given, narrowing, options_of
from mta.cli.tables import Instant, instant, print_account, print_fields, print_table, selectors_of
from mta.http_out.api_client import ApiClient

RULE_ID = click.argument("rule_id", metavar="ID")
QUIET = click.option("--quiet", "-q", is_flag=True, help="Print ids only.")
DETAIL = click.option("--detail", is_flag=True, help="Also print the figures of the statement.")
YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
WAIT = click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="How long to wait for the effect, such as 10s."
)  # fmt: skip
UNTIL = click.option(
    "--until",
    type=click.Choice(["effective", "quiet", "swept"]),
    default="effective",
    help="Wait until the rule is effective on every node (default), until the last final dot sent before is settled "
    "(quiet), or until the sweep of the queues is over (swept).",
)
REASON = click.option("--reason", help="A note for people, shown with the rule; destinations do not see it.")
IN_FLIGHT = click.option(
    "--in-flight", type=click.Choice(["abort", "finish"]), help="finish: a transaction that has begun may go on."
)  # fmt: skip
MAX_MATCHES = click.option(
    "--max-matches",
    type=click.IntRange(0),
    metavar="N",
    help="Hold the mail and count it first; if more than N deliveries match, release them and give no order.",
)
AT_THE_DOOR = click.option(
    "--at-the-door", type=click.Choice(["accept", "reject"]), help="reject: refuse new mail at end of data."
)  # fmt: skip


def selecting(command: Command) -> Command:
    """The options of a new rule: its selectors, how long it lasts, and where."""
    for option in reversed(
        (
            click.option("--tag", help="Mail that carries exactly this tag."),
            narrowing,
            click.option("--expires-at", help="When the rule ends: RFC 3339, or +30m."),
            click.option("--duration", help="How long the rule lasts, such as 30m."),
            click.option("--disabled", is_flag=True, help="Make the rule without effect until somebody enables it."),
            click.option("--this-node", is_flag=True, help="Only on the node that answers."),
            click.option(
                "--everything",
                is_flag=True,
                help="Match all mail; required without a selector, or with --except-tag alone.",
            ),
        )
    ):
        command = option(command)
    return command


def body_of(disabled: bool, this_node: bool, everything: bool, **fields: Any) -> dict[str, Any]:
    """The body of an order."""
    body = given(fields)
    if disabled:
        body["enabled"] = False
    if this_node:
        body["cluster"] = False
    if everything:
        body["everything"] = True
    return body


def filters(command: Command) -> Command:
    """The options of a list of rules."""
    for option in reversed(
        (
            click.option("--tag", help="Rules with exactly this tag."),
            click.option("--domain", help="Rules with exactly this domain."),
            click.option("--site", help="Rules with exactly this site."),
            click.option("--pool", help="Rules with exactly this pool."),
            click.option(
                "--enabled",
                type=click.Choice(["true", "false", "all"]),
                help="false: list disabled and expired rules instead.",
            ),
            LIMIT,
            ALL,
            QUIET,
            AS_JSON,
        )
    ):
        command = option(command)
    return command


class Family:
    """Forced errors or pauses: where they are, and the columns that only they have."""

    def __init__(self, path: str, columns: tuple[str, ...]) -> None:
        self.path = path
        self._columns = columns

    def of(self, rule_id: str) -> str:
        return f"{self.path}/{quote(rule_id, safe='')}"

    async def order(
        self, client: ApiClient, body: dict[str, Any], wait: float, until: str, quiet: bool, as_json: bool
    ) -> int:
        asked = [("wait", f"{wait:g}"), ("until", until)]
        answer = await client.ask("POST", self.path, asked, body, within=wait + 30.0)
        if quiet and not as_json:
            click.echo(answer.body["id"])
        else:
            show_change(answer.body, as_json)
        return remote.DONE if answer.status != 202 else remote.NOT_YET

    async def list(
        self, client: ApiClient, wanted: dict[str, str], limit: int, everything: bool, quiet: bool, as_json: bool
    ) -> int:  # fmt: skip
        rules, more = await remote.pages(client, self.path, wanted, limit, everything)
        if as_json:
            remote.out_json(rules)
            return remote.DONE
        if quiet:
            for rule in rules:
                click.echo(rule["id"])
            return remote.DONE
        columns = ("id", *self._columns, "applies to", "hits", "last hit", "created", "state", "until", "reason")
        rows = [
            (
                rule["id"],
                *(rule.get(name) for name in self._columns),
                selectors_of(rule),
                rule["hits"],
                instant(rule["last_hit_at"]),
                instant(rule.get("created_at")),
                *_state(rule),
                rule.get("reason"),
            )
            for rule in rules
        ]
        print_table(columns, rows)
        if more:
            remote.say("the list is cut off; give --limit or --all for the rest")
        return remote.DONE

    async def show(self, client: ApiClient, rule_id: str, as_json: bool) -> int:
        rule = (await client.ask("GET", self.of(rule_id))).body
        remote.out_json(rule) if as_json else print_fields(rule)
        return remote.DONE

    async def remove(self, client: ApiClient, rule_id: str, wait: float, as_json: bool) -> int:
        answer = await client.ask("DELETE", self.of(rule_id), [("wait", f"{wait:g}")], within=wait + 30.0)
        show_change(answer.body, as_json, "removed ")
        if not as_json:
            noun = self.path.rpartition("/")[2]
            click.echo(
                f"its statement can be read until {answer.body['statement_until']}: "
                f"floodgate {noun} statement {rule_id}"
            )
        return remote.DONE if answer.status != 202 else remote.NOT_YET

    async def statement(self, client: ApiClient, rule_id: str, detail: bool, as_json: bool) -> int:
        found = (await client.ask("GET", self.of(rule_id) + "/statement")).body
        remote.out_json(found) if as_json else print_account(found, detail)
        return remote.DONE


ERRORS = Family("/v1/errors", ("code", "extended"))
PAUSES = Family("/v1/pauses", ("held",))


def after_cancel(rule: dict[str, Any], statement: dict[str, Any]) -> list[str]:
    """A forced error outlasts the command that made it: whether mail is still ended by it, and the ways back."""
    rule_id = rule["id"]
    stays = _staying(rule, "rule", "intercepted")
    lines = [
        _end(rule) if is_over(rule, statement) else stays,
        f"To lift it:  floodgate errors remove {rule_id}",
    ]
    if "undo_until" in rule:
        lines.append(
            f"To undo it:  floodgate errors undo {rule_id}  (until {rule['undo_until']}; "
            "this disables the rule and returns the intercepted deliveries to their queues)"
        )
    else:
        lines.append("There is nothing to undo: no copy of an intercepted delivery is kept.")
    return lines


def after_freeze(rule: dict[str, Any], statement: dict[str, Any]) -> list[str]:
    rule_id = rule["id"]
    if is_over(rule, statement):
        return [f"{_end(rule)} The mail that it held is released."]
    return [
        _staying(rule, "pause", "held"),
        f"To lift it:            floodgate thaw {options_of(rule)}",
        f"To end the held mail:  floodgate pauses convert {rule_id} 554",
    ]


def _staying(rule: dict[str, Any], noun: str, then: str) -> str:
    """How a rule that stays in force treats mail that comes in later."""
    if "accepted_before" not in rule:
        return f"The {noun} stays in force{_ending(rule)}: mail that comes in with {selectors_of(rule)} is {then}, too."
    return (
        f"The {noun} stays in force{_ending(rule)} for mail that was accepted before {rule['accepted_before']}: "
        "mail that is accepted later passes."
    )


def is_over(rule: dict[str, Any], statement: dict[str, Any]) -> bool:
    """Whether the rule matches nothing more at the time of its statement."""
    ends = rule.get("expires_at")
    expired = ends is not None and datetime.fromisoformat(ends) <= datetime.fromisoformat(statement["as_of"])
    return expired or not rule["enabled"]


def _end(rule: dict[str, Any]) -> str:
    noun = "rule" if "code" in rule else "pause"
    return f"The {noun} ended at {rule['expires_at']}." if rule["enabled"] else f"The {noun} was disabled meanwhile."


def _ending(rule: dict[str, Any]) -> str:
    return f" until {rule['expires_at']}" if "expires_at" in rule else ""


def _state(rule: dict[str, Any]) -> tuple[str, Instant | None]:
    """Whether it is on, and its end."""
    return "on" if rule["enabled"] else "disabled", instant(rule.get("expires_at"))


def show_change(rule: dict[str, Any], as_json: bool, before: str = "") -> None:
    """A rule as an order answered it."""
    if as_json:
        remote.out_json(rule)
        return
    click.echo(f"{before}{rule['id']}  {rule.get('code', 'pause')}  {selectors_of(rule)}")
    show_effect(rule)


def show_effect(rule: dict[str, Any]) -> None:
    """When the rule is effective, the processes that have not confirmed it, deliveries past their dot, and warnings."""
    if rule["effective"]:
        click.echo(f"effective everywhere since {rule['effective_at']}")
    elif "effective_by" in rule:
        click.echo(f"effective everywhere by {rule['effective_by']} at the latest")
    else:
        most = rule["bound"]["max_matches"]
        click.echo(f"its mail is held and not counted yet: it takes effect if it matches at most {most} deliveries")
    if rule["workers"]["unconfirmed"]:
        click.echo("not confirmed by " + ", ".join(rule["workers"]["unconfirmed"]))
    for entry in rule["past_dot"]:
        click.echo(f"its final dot had been sent: {entry['id']} to {entry['recipient']} at {entry['dot_at']}")
    for warning in rule.get("warnings", ()):
        remote.say(warning)
