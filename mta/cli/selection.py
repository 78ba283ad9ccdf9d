"""The options that select the mail of an order, and whether there is any such mail."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

import click

from mta.cli import remote
from mta.http_out.api_client import ApiClient
from mta.model.text import visible

Command = Callable[..., Any]

# Selector of a rule: the option that gives it.
_OPTIONS = {
    "tag": "--tag",
    "domain": "--domain",
    "pool": "--pool",
    "site": "--site",
    "mta": "--mta",
    "ip": "--ip",
    "mx": "--mx",
    "tags_all": "--tags-all",
    "except_tags": "--except-tag",
    "tenant": "--tenant",
    "sender": "--sender",
    "recipient": "--recipient",
    "accepted_before": "--accepted-before",
    "accepted_after": "--accepted-after",
    "schedule": "--schedule",
    "timezone": "--timezone",
}

SELECTORS = tuple(_OPTIONS)


def narrowing(command: Command) -> Command:
    """Every selector but the tag; all that are given must match."""
    for option in reversed(
        (
            click.option(
                "--domain", multiple=True, help="A domain, or *.domain for its subdomains; one of several must match."
            ),
            click.option("--pool", help="An IP pool."),
            click.option("--site", help="A site: the provider that takes the mail of its domains."),
            click.option("--mta", help="A sending IP."),
            click.option("--ip", help="The IP address of the destination host."),
            click.option("--mx", help="The name of the destination host, or *.host."),
            click.option(
                "--tags-all", multiple=True, metavar="TAG", help="A tag that the mail must carry, too; may be repeated."
            ),
            click.option(
                "--except-tag",
                "except_tags",
                multiple=True,
                metavar="TAG",
                help="Spare mail that carries this tag; may be repeated.",
            ),
            click.option("--tenant", help="The account for which the mail was injected."),
            click.option("--sender", help="An envelope sender, or *@domain."),
            click.option("--recipient", help="An envelope recipient."),
            click.option(
                "--accepted-before", metavar="TIME", help="Mail accepted before this time: RFC 3339, +30m, or now."
            ),
            click.option("--accepted-after", metavar="TIME", help="Mail accepted at this time or later."),
        )
    ):
        command = option(command)
    return command


def recurring(command: Command) -> Command:
    """The options of a pause that holds mail at some times of the week."""
    for option in reversed(
        (
            click.option("--schedule", help='The times at which it holds mail, such as "Mo-Fr 22:00-08:00".'),
            click.option("--timezone", help="The time zone of the schedule, such as Europe/Berlin; else UTC."),
        )
    ):
        command = option(command)
    return command


def _one_tag(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value.strip(" \t") in ("", "*"):
        raise click.BadParameter(
            "is no tag; this command needs one. To select mail otherwise, see: floodgate errors add --help"
        )
    return value


TAG = click.option("--tag", required=True, callback=_one_tag, help="Mail that carries exactly this tag.")
ALLOW_EMPTY = click.option("--allow-empty", is_flag=True, help="Give the order although no mail carries the tag yet.")


QUEUED_ONLY = click.option(
    "--queued-only",
    is_flag=True,
    help="Only mail that was accepted before now, so that a corrected send under the same tag passes.",
)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Only the options that were given, as fields of a rule's body."""
    found = {name: value for name, value in remote.without_unset(**options).items() if value != ()}
    if len(found.get("domain", ())) == 1:
        (found["domain"],) = found["domain"]
    if found.pop("queued_only", False):
        if "accepted_before" in found:
            raise click.UsageError("--queued-only is --accepted-before now; give one of them")
        found["accepted_before"] = "now"
    return found


def options_of(rule: Mapping[str, Any]) -> str:
    """The selectors of a rule as options of a command line, to be pasted into a shell."""
    words = []
    for name, option in _OPTIONS.items():
        value = rule.get(name, ())
        for one in [value] if isinstance(value, str) else value:
            words += [option, shlex.quote(one)]
    return " ".join(words)


async def why_empty(client: ApiClient, body: Mapping[str, Any]) -> str:
    """Why no mail can match, "" = some may: a tag that no mail has carried, or none of the
    tenant, or a domain without a dot and without mail.

    Raises ApiAway, ApiRefused."""
    for tag in (body["tag"], *body.get("tags_all", ())):
        found = (await client.ask("GET", "/v1/tags", [("tag", tag)])).body
        if not found["tracked"]:
            return f"no mail carries tag {tag.strip()}{_lately(found)}"
    tenant = body.get("tenant", "").strip()
    if tenant not in ("", "*"):
        asked = [("tag", body["tag"]), ("tenant", tenant)]
        found = (await client.ask("GET", "/v1/tags", asked)).body
        if not found["tracked"]:
            return f"no mail of tenant {tenant} carries tag {body['tag'].strip()}{_lately(found)}"
    domains = body.get("domain", "")
    for domain in [domains] if isinstance(domains, str) else domains:
        if domain in ("", "*") or domain.startswith("*.") or "." in domain.rstrip("."):
            continue
        asked = [("domain", domain), ("limit", "1")]
        if not (await client.ask("GET", "/v1/queues", asked)).body["queues"]:
            return f"{domain} is no domain name (it has no dot), and no mail for it waits"
    return ""


def _lately(statement: Mapping[str, Any]) -> str:
    """The known tags that are nearest to one that no mail has carried."""
    near = [visible(tag) for tag in statement.get("nearest", ())]
    return f" (seen lately: {', '.join(near)})" if near else ""


async def refused_as_empty(client: ApiClient, body: Mapping[str, Any], allow_empty: bool) -> bool:
    """Whether the order is refused because no mail can match; then a line says why."""
    why = "" if allow_empty else await why_empty(client, body)
    if why:
        remote.say(
            f"{why}, so nothing was made; check the spelling, or give --allow-empty if the mail is still to come"
        )
    return bool(why)
