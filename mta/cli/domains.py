"""`floodgate domains`: the domains of senders, as receivers see them in DNS."""

from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.options import AS_JSON
from mta.cli.tables import print_table
from mta.http_out.api_client import ApiClient


@commands.group(help="The domains of senders, as receivers see them in DNS.")
def command() -> None:
    pass


@command.command(help="Look for SPF, DKIM, DMARC, MTA-STS and the names of our IPs. Exit status 1: something is wrong.")
@click.argument("domain", metavar="DOMAIN")
@AS_JSON
def check(domain: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("GET", f"/v1/domains/{quote(domain, safe='')}/check", within=60.0)).body
        if as_json:
            remote.out_json(found)
        else:
            print_table(("check", "ok", "finding"), _rows(found))
        return remote.DONE if found["ok"] else remote.FAILED

    remote.run(work)


def _rows(found: dict[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [["SPF", found["spf"]["ok"], found["spf"]["text"]]]
    rows.append(["DKIM", found["dkim"]["ok"], found["dkim"]["text"]])
    rows += [[f"DKIM {key['selector']}", key["ok"], f"{key['state']}: {key['text']}"] for key in found["keys"]]
    rows.append(["DMARC", found["dmarc"]["ok"], found["dmarc"]["text"]])
    rows.append(["MTA-STS", found["mta_sts"]["ok"], found["mta_sts"]["text"]])
    rows += [[f"IP {one['ip']}", one["ok"], one["text"]] for one in found["ips"]]
    return rows
