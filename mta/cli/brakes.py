"""`floodgate brakes`: orders that make a rule by themselves, once too much of the mail of a tag fails."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant, print_fields, print_table
from mta.http_out.api_client import ApiClient
from mta.model.brakes import Metric
from mta.model.units import format_duration

_COLUMNS = ("id", "mail", "metric", "limit", "min", "window", "action", "for", "pulled", "by")
_PULLS = ("tag", "at", "hits", "counted", "rule", "lifted", "pulls")
_ID = click.argument("brake_id", metavar="ID")


@commands.group(help="Brakes: rules that are made by themselves, once too much of the mail of a tag fails.")
def command() -> None:
    pass


@command.command(help="Make a brake: a pause, or with --code a forced error, once a ratio of failures is exceeded.")
@click.option("--tag", help="Watch the mail with this tag.")
@click.option("--each", type=click.Choice(["tag"]), help="Watch every tag by itself.")
@click.option("--pool", help="Only mail of this pool.")
@click.option("--site", help="Only mail to this site.")
@click.option("--tenant", help="Only mail of this tenant.")
@click.option(
    "--metric",
    type=click.Choice([metric.value for metric in Metric]),
    default=Metric.HARD_BOUNCE.value,
    help="The failures that count; default hard_bounce.",
)
@click.option("--ratio", required=True, help='The limit: "5%" or 0.05.')
@click.option("--min", "least", type=int, required=True, help="Deliveries of the window below which it never pulls.")
@click.option("--window", required=True, help='The time that it looks back, such as "10m".')
@click.option("--code", type=int, help="Fail the mail with this SMTP code; without it the mail is held.")
@click.option("--extended", help="Enhanced code of the forced error.")
@click.option("--description", help="Text of the forced error.")
@click.option("--reason", help="For people; it stands behind the figures.")
@click.option("--for", "lasts", help='How long the rule lasts, such as "2h"; default: until it is lifted.')
@AS_JSON
def add(
    tag: str | None,
    each: str | None,
    pool: str | None,
    site: str | None,
    tenant: str | None,
    metric: str,
    ratio: str,
    least: int,
    window: str,
    lasts: str | None,
    as_json: bool,
    **terms: Any,
) -> None:
    rule = remote.without_unset(**terms)
    if rule and "code" not in rule:
        raise click.UsageError(
            f"--{min(rule)} belongs to a forced error; give --code, too, or leave it out for a pause"
        )
    body: dict[str, Any] = {
        "selectors": remote.without_unset(tag=tag, each=each, pool=pool, site=site, tenant=tenant),
        "metric": metric,
        "ratio": _ratio(ratio),
        "min": least,
        "window": window,
        "action": rule or "pause",
    }
    if lasts is not None:
        body["for"] = lasts

    async def work(client: ApiClient) -> int:
        brake = (await client.ask("POST", "/v1/brakes", body=body)).body
        remote.out_json(brake) if as_json else print_fields(_fields(brake))
        return remote.DONE

    remote.run(work)


@command.command("list", help="List the brakes.")
@click.option("--tag", help="Those that watch this tag alone.")
@LIMIT
@ALL
@AS_JSON
def list_(tag: str | None, limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        asked = remote.without_unset(tag=tag)
        brakes, more = await remote.pages(client, "/v1/brakes", asked, limit, everything, "brakes")
        return print_list(brakes, more, as_json, _COLUMNS, lambda brake: list(_fields(brake).values()))

    remote.run(work)


@command.command(help="Show a brake with its pulls, and how its tag stands.")
@_ID
@AS_JSON
def show(brake_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        brake = (await client.ask("GET", f"/v1/brakes/{brake_id}")).body
        if as_json:
            remote.out_json(brake)
            return remote.DONE
        rate = brake.get("rate")
        now = {} if rate is None else {"now": f"{rate['hits']} of {rate['counted']}"}
        print_fields(_fields(brake) | now)
        if brake["pulls"]:
            print_table(_PULLS, [_pull_row(pull) for pull in brake["pulls"]])
        return remote.DONE

    remote.run(work)


@command.command(help="Remove a brake. Rules that it has made stay until they are lifted or over.")
@_ID
@AS_JSON
def remove(brake_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        brake = (await client.ask("DELETE", f"/v1/brakes/{brake_id}")).body
        if as_json:
            remote.out_json(brake)
            return remote.DONE
        print_fields(_fields(brake))
        for pull in brake["pulls"]:
            if pull["rule"] and not pull["lifted_at"]:
                remote.say(f"rule {pull['rule']} for tag {pull['tag']} stays in force")
        return remote.DONE

    remote.run(work)


def _ratio(text: str) -> float:
    try:
        return float(text.rstrip("% ")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise click.UsageError(f'--ratio {text} is not a ratio; write "5%" or 0.05') from None


def _fields(brake: Mapping[str, Any]) -> dict[str, str]:
    selectors, action = brake["selectors"], brake["action"]
    names = [f"{name}={value}" for name, value in selectors.items()]
    made = (
        action if action == "pause" else " ".join(str(action[name]) for name in ("code", "extended") if name in action)
    )
    shown = (
        brake["id"],
        " ".join(names),
        brake["metric"],
        f"{brake['ratio'] * 100:.4g} %",
        str(brake["min"]),
        format_duration(brake["window"]),
        made,
        format_duration(brake["for"]) if "for" in brake else "",
        str(brake["pulled"]),
        brake["created_by"],
    )
    return dict(zip(_COLUMNS, shown, strict=True))


def _pull_row(pull: Mapping[str, Any]) -> Sequence[object]:
    return [
        pull["tag"],
        instant(pull["at"]),
        pull["hits"],
        pull["counted"],
        pull["rule"] or "",
        instant(pull["lifted_at"]),
        pull["pulls"],
    ]
