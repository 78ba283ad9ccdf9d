"""The checker: is each delivery in one legal place, and do counters say what is there? It counts records and keys."""

from collections import Counter, defaultdict
from typing import NamedTuple

from mta.model.ids import DeliveryId, delivery_text
from mta.model.shares import place_of, split_place
from mta.redis_store import codec, keys
from mta.redis_store.link import Link


class Report(NamedTuple):
    """Broken rules as sentences; live deliveries by class as found, in total ("") and by tag; the counters likewise."""

    broken: list[str]
    recounted: dict[str, Counter[str]]
    counted: dict[str, Counter[str]]

    @property
    def balanced(self) -> bool:
        """accepted = the sum of the classes, per tag and in total."""
        beside = ("accepted", "rejected", "deferred_by_rule", "uncertain", "undone")
        return all(
            counts["accepted"] == sum(n for field, n in counts.items() if field not in beside)
            for counts in self.counted.values()
        )


class Checker:
    """Reads a store at rest, or one that others change: then only `balanced` can be relied on."""

    def __init__(self, link: Link, lanes: int) -> None:
        self._link = link
        self._lanes = lanes

    async def report(self) -> Report:
        broken: list[str] = []
        recounted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for lane in range(self._lanes):
            places = await self._places(lane, broken)
            await self._recount(lane, places, recounted, broken)
            await self._counters(lane, counted)
        for tag in set(recounted) | set(counted):
            for field in ("queued", "held", "parked"):
                if counted[tag][field] != recounted[tag][field]:
                    broken.append(
                        f"{field} of tag {tag!r}: counted {counted[tag][field]}, there are {recounted[tag][field]}"
                    )
        return Report(broken, dict(recounted), dict(counted))

    async def _all_keys(self, lane: int, name: bytes) -> list[bytes]:
        found: set[bytes] = set()
        at = 0
        while True:
            at, page = await self._link.scan(keys.lane_key(lane, name), at, 1000)
            found.update(page)
            if at == 0:
                return sorted(found)

    async def _places(self, lane: int, broken: list[str]) -> dict[bytes, list[str]]:
        """delivery id -> where it was found."""
        places: defaultdict[bytes, list[str]] = defaultdict(list)
        prefix = keys.lane_prefix(lane)
        for key in await self._all_keys(lane, b"due:"):
            place, domain = keys.queue_of(key[len(prefix) + 4 :])
            rows = await self._link.command("ZRANGE", key, 0, -1, "WITHSCORES")
            for id_ in rows[::2]:
                places[id_].append(f"due {place.decode()}:{domain.decode()}")
            agenda = await self._link.command("ZSCORE", keys.agenda_key(prefix, place), domain)
            least = min(float(score) for score in rows[1::2])
            if agenda is None or float(agenda) > least:
                broken.append(f"lane {lane}: agenda of {key.decode()} says {agenda!r}, its first is due {least}")
        await self._shares(lane, broken)
        for key in await self._all_keys(lane, b"claimed:"):
            for id_ in await self._link.command("HKEYS", key):
                places[id_].append(f"claimed by {key[len(prefix) + 8 :].decode()}")
        for member in await self._link.command("ZRANGE", prefix + b"parked", 0, -1):
            places[member[:18]].append("parked")
        for name, index in ((b"held:", b"pauses"), (b"spared:", b"spares")):
            found = set()
            for key in await self._all_keys(lane, name):
                found.add(key[len(prefix) + len(name) :])
                for member in await self._link.command("ZRANGE", key, 0, -1):
                    places[member[:18]].append(key[len(prefix) :].decode())
            known = set(await self._link.command("SMEMBERS", prefix + index))
            if found != known:
                broken.append(f"lane {lane}: {index.decode()} names {known}, there are {found}")
        return places

    async def _shares(self, lane: int, broken: list[str]) -> None:
        """A pool names the shares that have an agenda, and no others."""
        prefix = keys.lane_prefix(lane)
        agendas = {key[len(prefix) + 7 :].decode() for key in await self._all_keys(lane, b"agenda:")}
        named = set()
        for key in await self._all_keys(lane, b"shares:"):
            pool = key[len(prefix) + 7 :].decode()
            named |= {place_of(pool, share.decode()) for share in await self._link.command("SMEMBERS", key)}
        if {place for place in agendas if split_place(place)[1]} != named:
            broken.append(f"lane {lane}: shares are named for {sorted(named)}, there are agendas of {sorted(agendas)}")

    async def _recount(
        self, lane: int, places: dict[bytes, list[str]], recounted: defaultdict[str, Counter[str]], broken: list[str]
    ) -> None:
        prefix = keys.lane_prefix(lane)
        answer = await self._link.command("HGETALL", prefix + b"rec")
        records = dict(zip(answer[::2], answer[1::2], strict=True))
        contents = set(await self._link.command("HKEYS", prefix + b"content"))
        for id_ in set(await self._link.command("HKEYS", prefix + b"cancels")) - records.keys():
            broken.append(f"{_text(id_)}: is to be canceled and does not live")
        for id_ in places.keys() - records.keys():
            broken.append(f"{_text(id_)}: {places[id_]} without a record")
        for id_, raw in records.items():
            where = places.get(id_, [])
            if len(where) != 1:
                broken.append(f"{_text(id_)}: has a record and is in {where or 'no place'}")
            if id_[:16] not in contents:
                broken.append(f"{_text(id_)}: its content is gone")
            kind = where[0].partition(":")[0] if where else ""
            if kind == "spared":
                continue  # ended; only its record waits for an undo
            field = kind if kind in ("held", "parked") else "queued"
            recounted[""][field] += 1
            try:
                tags = codec.decode_record(raw)[1].counted_tags
            except codec.UNREADABLE:
                broken.append(f"{_text(id_)}: its record cannot be read")
                continue
            for tag in tags:
                recounted[tag][field] += 1
        for message in contents - {id_[:16] for id_ in records}:
            broken.append(f"content of {message.hex()} is needed by no delivery")

    async def _counters(self, lane: int, counted: defaultdict[str, Counter[str]]) -> None:
        prefix = keys.lane_key(lane, b"tag:")
        names = [(key[len(prefix) :].decode(), key) for key in await self._all_keys(lane, b"tag:")]
        for tag, key in [("", keys.lane_key(lane, b"count")), *names]:
            answer = await self._link.command("HGETALL", key)
            for field, value in zip(answer[::2], answer[1::2], strict=True):
                if field != keys.TAG_EPOCH:
                    counted[tag][field.decode()] += int(value)


def _text(id_: bytes) -> str:
    return delivery_text(DeliveryId(id_))
