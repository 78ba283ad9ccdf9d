"""The settings that all nodes share, written once when the store is created."""

from typing import Final

from mta.model.errors import SettingsError
from mta.redis_store import keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

SCHEMA: Final = 2  # 2: shares of queues


class ClusterSettings:
    """Lanes and S."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.lanes = 0
        self.max_staleness = 0.0

    async def open(self, max_staleness: float, lanes: int) -> None:
        """Write what is not there yet, read the rest. Raises SettingsError where this node's file says otherwise."""
        for field, value in (("schema", SCHEMA), ("lanes", lanes), ("max_staleness", f"{max_staleness:g}")):
            await self._link.command("HSETNX", keys.META_SETTINGS, field, value)
        schema = int(await self._link.command("HGET", keys.META_SETTINGS, "schema"))
        if schema != SCHEMA:
            raise SettingsError(
                f"the store has schema {schema}, this release reads {SCHEMA}: run the release that made it"
            )
        self.lanes = int(await self._link.command("HGET", keys.META_SETTINGS, "lanes"))
        self.max_staleness = float(await self._link.command("HGET", keys.META_SETTINGS, "max_staleness"))
        if self.lanes != lanes:
            raise SettingsError(_other_lanes(lanes, self.lanes))
        if abs(self.max_staleness - max_staleness) > 1e-9:
            raise SettingsError(
                f"rules.max_staleness is {max_staleness:g} s here and {self.max_staleness:g} s in the cluster: give "
                f"that value, or stop all nodes and HSET {keys.META_SETTINGS.decode()} max_staleness {max_staleness:g}"
            )
        await each_lane(range(self.lanes), self._anchor)
        await self._link.quick("HSETNX", keys.RULES_HEAD, "born", wall_ms())

    async def _anchor(self, lane: int) -> None:
        anchor = keys.lane_key(lane, b"lane")
        await self._link.quick("HSETNX", anchor, "born", wall_ms())
        await self._link.quick("HSETNX", anchor, "schema", SCHEMA)

    async def hold_history(self, node: str, identity: str) -> None:
        """This node's files are the history of the cluster, unless those of another node are. A node that was renamed
        keeps it."""
        await self._link.command("HSETNX", keys.META_SETTINGS, "history", f"{node}|{identity}")
        holder, _, of = (await self._history()).partition("|")
        if (holder == node) is not (of == identity):
            await self._link.command("HSET", keys.META_SETTINGS, "history", f"{node}|{identity}")

    async def history_holder(self) -> str:
        """The node whose files are the history, "" = none has said so yet."""
        return (await self._history()).partition("|")[0]

    async def _history(self) -> str:
        return (await self._link.command("HGET", keys.META_SETTINGS, "history") or b"").decode()

    async def claim_seal(self, fingerprint: str) -> str:
        """The fingerprint of the cluster's key, which is `fingerprint` where the store has none."""
        await self._link.command("HSETNX", keys.META_SETTINGS, "seal", fingerprint)
        found: bytes = await self._link.command("HGET", keys.META_SETTINGS, "seal")
        return found.decode()

    async def clock(self) -> float:
        """Unix seconds by the server's clock."""
        return int(await self._link.call(b"clock", [keys.lane_key(0, b"lane")], [])) / 1000


def _other_lanes(here: int, stored: int) -> str:
    """Lanes can be added while no node runs. One that is taken away would leave its mail and its counters behind."""
    said = f"redis.lanes is {here} here and {stored} in the store: set redis.lanes = {stored} on this node, or "
    if here > stored:
        setting = keys.META_SETTINGS.decode()
        return f"{said}stop all nodes, HSET {setting} lanes {here}, and start them with redis.lanes = {here}"
    return f"{said}let all mail leave, stop all nodes and start them on an empty store: lanes cannot be taken away"
