"""`floodgate tail`: the delivery log while it is being written."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import click
import orjson

from mta.cli import commands, remote
from mta.cli.api_url import moved
from mta.cli.tables import cell
from mta.http_out.api_client import ApiAway, ApiClient, ApiRefused

_RECONNECT = 0.5  # seconds between attempts
_PATIENCE = 600.0  # seconds without a stream: a node with deep queues needs minutes to stop and start


@commands.command(help="Follow the delivery log live, also over restarts of the node.")
@click.option("--tag", help="Events of mail with this tag.")
@click.option("--domain", help="Events of mail to this domain.")
@click.option("--pool", help="Events of mail in this pool.")
@click.option("--tenant", help="Events of this tenant.")
@click.option("--recipient", help="Events of mail to this address, without case.")
@click.option("--rule", help="Events of this rule, and of mail that it decided about.")
@click.option(
    "--type", "types", multiple=True, help="Events of this type, such as Delivery or Intercepted; may be repeated."
)
@click.option("--limit", type=click.IntRange(1, 10_000), help="End after so many events.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines of the log as they are.")
def command(types: tuple[str, ...], limit: int | None, as_json: bool, **filters: str | None) -> None:
    params = [*remote.without_unset(**filters).items(), *(("type", name) for name in types)]
    remote.run(lambda client: _Tail(client, params, limit, as_json).follow())


class _Tail:
    """One look at the log; a stream that breaks is taken up where it broke."""

    def __init__(self, client: ApiClient, params: Sequence[tuple[str, str]], limit: int | None, as_json: bool) -> None:
        self._client = client
        self._params = params
        self._left = limit
        self._as_json = as_json
        self._last_id: str | None = None  # None: no stream has stood yet
        self._lost_at: float | None = None  # when the stream broke; None: it stands

    async def follow(self) -> int:
        """Print events until the limit is reached. Raises ApiRefused, and ApiAway where no stream stood at first or
        none came back within ten minutes."""
        while self._left is None or self._left > 0:
            try:
                await self._stream()
                self._lost("the API ended the stream")
            except ApiAway as away:
                self._lost(str(away), away)
            except ApiRefused as refused:
                if refused.status != 503:
                    raise
                self._lost(str(refused), refused)
            if self._left is None or self._left > 0:
                await asyncio.sleep(_RECONNECT)
        return remote.DONE

    async def _stream(self) -> None:
        asked = self._params if self._left is None else [*self._params, ("limit", str(self._left))]
        async for event in self._client.events(asked, self._last_id):
            if event.remark:
                remote.say(event.remark)
                continue
            self._last_id = event.id
            if not event.data:
                self._stands()
                continue
            click.echo(event.data if self._as_json else line_of(orjson.loads(event.data)))
            self._left = None if self._left is None else self._left - 1

    def _stands(self) -> None:
        if self._lost_at is None:
            return
        remote.say(f"connected again to {self._client.url}; the events go on behind the last one")
        self._lost_at = None

    def _lost(self, why: str, error: Exception | None = None) -> None:
        """Once for each outage it is said. The node may come back at another address, which its file has then."""
        now = asyncio.get_running_loop().time()
        if self._left == 0:
            return
        if self._last_id is None and error is not None:
            raise error
        if self._lost_at is None:
            self._lost_at = now
            remote.say(f"{why}; connecting again")
        elif now - self._lost_at > _PATIENCE:
            raise error or ApiAway(why)
        self._client.url = moved(os.environ, self._client.url)


def line_of(event: dict[str, Any]) -> str:
    """One event on one line for a person."""
    reply = " ".join(str(event[name]) for name in ("code", "enhanced", "text") if event.get(name))
    parts = [event.get("time"), f"{event.get('type', '-'):<16}", event.get("id"), event.get("pool")]
    parts += [event.get("recipient"), event.get("mx"), reply or event.get("reason")]
    return "  ".join(cell(part) if index != 1 else str(part) for index, part in enumerate(parts) if part)
