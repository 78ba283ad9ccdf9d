"""`floodgate workers`: the processes of the cluster, and how current their rules are."""

from mta.cli import commands, remote
from mta.cli.options import AS_JSON
from mta.cli.tables import print_table
from mta.http_out.api_client import ApiClient

_COLUMNS = ("node", "pid", "roles", "generation", "lag", "seconds_since_confirm", "dead")


@commands.command(help="The processes of the cluster and the rules they have confirmed.")
@AS_JSON
def command(as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        workers = (await client.ask("GET", "/v1/workers")).body["workers"]
        if as_json:
            remote.out_json(workers)
        else:
            print_table(_COLUMNS, [[worker[column] for column in _COLUMNS] for worker in workers])
        return remote.DONE

    remote.run(work)
