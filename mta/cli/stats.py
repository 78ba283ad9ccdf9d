"""`floodgate stats`: how much mail was accepted and how it ended, by hour, pool, domain, site, tenant or tag."""

from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.options import AS_JSON
from mta.cli.tables import print_table
from mta.http_out.api_client import ApiClient

_FIGURES = (
    "accepted", "delivered", "bounced", "expired", "intercepted", "canceled", "filtered", "throttled", "simulated",
    "deferred", "rejected", "undone", "opened", "clicked",
)  # fmt: skip

_ALONE = {
    ("tls",): ("begins", "domain", "policy", "mx", "result", "sessions"),
    ("link",): ("begins", "tenant", "link", "clicked", "machine_clicked"),
}


@commands.command(help="Show how much mail was accepted and how it ended, from history.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["pool", "domain", "site", "tenant", "category", "tag", "tls", "link"]),
    help="A line for each pool, domain, site, tenant, category or tag; may repeat. tls: connections by result of TLS. "
    "link: clicks in tracked mail.",
)
@click.option("--interval", help='A line for each period of whole hours, such as "1h"; default: one for all.')
@click.option("--from", "since", help="From the hour of this time, in RFC 3339; default: the last 24 hours.")
@click.option("--until", help="To the end of the hour of this time; default: now.")
@click.option("--tenant", help="Only mail of this tenant.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="Show at most so many lines (default 100).")
@AS_JSON
def command(by: tuple[str, ...], since: str | None, limit: int, as_json: bool, **given: str | None) -> None:
    named = remote.without_unset(**given, **{"from": since})
    params = [*named.items(), *(("by", name) for name in by), ("limit", str(limit))]

    async def work(client: ApiClient) -> int:
        found = (await client.ask("GET", "/v1/stats", params)).body
        if as_json:
            remote.out_json(found["stats"])
            return remote.DONE
        if by in _ALONE:
            print_table(_ALONE[by], [[row.get(name, "") for name in _ALONE[by]] for row in found["stats"]])
            return remote.DONE
        figures = [name for name in _FIGURES if any(row[name] for row in found["stats"])]
        print_table(("begins", *by, *figures), [_row(row, (*by, *figures)) for row in found["stats"]])
        if "counted_from" in found:
            remote.say(
                f"deliveries accepted before {found['counted_from']} are not all counted; give an earlier --until"
            )
        if found["truncated"]:
            remote.say("the list is cut off; give --limit for more")
        return remote.DONE

    remote.run(work)


def _row(row: Mapping[str, Any], names: tuple[str, ...]) -> list[object]:
    return [row["begins"].removesuffix(":00.000Z") + "Z", *(row[name] for name in names)]
