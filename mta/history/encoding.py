"""Rows of the tables, made of a round and of what is read: tuples of plain values."""

import array
import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
import zstandard

from mta.history.layout import Kind
from mta.model.address_keys import plain_address
from mta.model.entries import Entry
from mta.ports.history_writer import DAY_MS, PLACE_BITS, Chunk, Round, Row
from mta.ports.spool import Sourced
from mta.ports.tag_counters import TagCounters

_LEVEL: Final = 1  # of zstd: half the bytes that are left with higher ones cost several times as much

_pack_one = struct.Struct("I").pack
_encode = msgspec.msgpack.Encoder().encode
_decode_chunk = msgspec.msgpack.Decoder(list[tuple[str, str, bytes, bytes]]).decode
_decode_parts = msgspec.msgpack.Decoder(list[tuple[int, int, list[int]]]).decode

# The kind of postings of events, see history_writer.Named
NAMED: Final[Mapping[str, int]] = {
    "rule": Kind.RULE,
    "category": Kind.CATEGORY,
    "uncertain": Kind.UNCERTAIN,
    "order": Kind.ORDER,
}

# The earlier one of each time of a visit, in the words of a database that calls the lesser of two values `least`
EARLIER: Final = ", ".join(
    f"{name} = CASE WHEN visits.{name} = 0 THEN excluded.{name} WHEN excluded.{name} = 0 THEN visits.{name}"
    f" ELSE {{least}}(visits.{name}, excluded.{name}) END"
    for name in ("opened", "clicked")
)

DeliveryTuple = tuple[int, bytes, int, int, int, int, str]
HourTuple = tuple[int, str, str, str, str, str, int]
Parts = list[tuple[int, int, list[int]]]


def number(round_: int, place: int) -> int:
    return round_ << PLACE_BITS | place


def round_and_place(n: int) -> tuple[int, int]:
    return n >> PLACE_BITS, n & (1 << PLACE_BITS) - 1


def chunk_data(entries: Sequence[Sourced]) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(_encode([(source, *entry) for source, entry in entries]))


def entries_of(data: bytes) -> Iterator[Sourced]:
    for source, id_, framed, left_out in _decode_chunk(zstandard.ZstdDecompressor().decompress(data)):
        yield source, Entry(id_, framed, left_out)


def delivery_tuple(round_: int, id_: bytes, row: Row) -> DeliveryTuple:
    """Of a delivery that history does not have yet."""
    base = round_ << PLACE_BITS
    more = "".join([f",{base | place}" for place in row.more]) if row.more else ""
    return base | row.first, id_, row.rank, row.standing, row.recipient, base | row.last, more


def change_tuple(round_: int, id_: bytes, row: Row) -> tuple[str, int, int, int, bytes]:
    """(numbers of the events but the last, rank, standing, number of the last event, id)."""
    base = round_ << PLACE_BITS
    more = ""
    if row.more or row.first != row.last:
        places = {row.first, *row.more} - {row.last}
        more = "".join([f",{base | place}" for place in sorted(places)])
    return more, row.rank, row.standing, base | row.last, id_


def posting_tuples(new_round: int, day: int, round_: Round, new: Container[bytes]) -> list[tuple[int, str, int, bytes]]:
    """The postings of one day in the round `new_round`; `new` are the deliveries that history did not have."""
    found: dict[tuple[int, str], list[int]] = {}
    # Mail to many domains has few such facts besides its domains.
    shared: dict[tuple[tuple[str, ...], str, str, str], list[int]] = {}
    for (of_day, tags, sender, domain, pool, tenant), deliveries in round_.commons.items():
        if of_day == day and (places := [place for place, id_ in deliveries if id_ in new]):
            found.setdefault((Kind.DOMAIN, domain), []).extend(places)
            shared.setdefault((tags, sender, pool, tenant), []).extend(places)
    for (tags, sender, pool, tenant), places in shared.items():
        keys = [(Kind.TAG, tag) for tag in dict.fromkeys(tags)]
        keys += ((Kind.SENDER, plain_address(sender)), (Kind.POOL, pool))
        if tenant:
            keys.append((Kind.TENANT, tenant))
        for key in keys:
            found.setdefault(key, []).extend(places)
    for (of_day, field, value), places in round_.named.items():
        if of_day == day:
            found[NAMED[field], value] = places
    return [(kind, text(value), new_round, _packed(places)) for (kind, value), places in sorted(found.items())]


def hour_tuples(round_: Round) -> list[HourTuple]:
    """Rows of `hours`."""
    found: list[HourTuple] = []
    for (hour, pool, domain, tenant, category, kind), many in round_.hours.items():
        if not f"{pool}{domain}{tenant}{category}".isprintable():
            pool, domain, tenant, category = text(pool), text(domain), text(tenant), text(category)
        found.append((hour, pool, domain, tenant, category, kind, many))
    return found


def visit_tuples(day: int, round_: Round) -> list[tuple[bytes, int, int]]:
    """Rows of `visits` of one day, in one order for all writers."""
    return sorted(
        (id_, *visits) for id_, visits in round_.visits.items() if int.from_bytes(id_[:6], "big") // DAY_MS == day
    )


def statement_tuples(round_: Round) -> list[tuple[str, str, int]]:
    return [(text(rule), text(statement), at) for rule, (statement, at) in sorted(round_.statements.items())]


def _packed(places: list[int]) -> bytes:
    return _pack_one(places[0]) if len(places) == 1 else array.array("I", sorted(places)).tobytes()


def places_of(raw: bytes) -> "array.array[int]":
    places = array.array("I")
    places.frombytes(raw)
    return places


def parts_of(round_: Round, new_ids: Iterable[bytes]) -> bytes:
    """The days of a round, as `batches.parts` has them."""
    return _encode(_parts(round_.chunks, new_ids))


def read_parts(raw: bytes) -> Parts:
    return _decode_parts(raw)


def _parts(chunks: Sequence[Chunk], new_ids: Iterable[bytes]) -> Parts:
    least: dict[int, int] = {}
    firsts: dict[int, list[int]] = {}
    for chunk in chunks:
        firsts.setdefault(chunk.day, []).append(chunk.first)
    for id_ in new_ids:
        ms = int.from_bytes(id_[:6], "big")
        day = ms // DAY_MS
        least[day] = min(ms, least.get(day, ms))
    return [(day, least.get(day, 0), firsts.get(day, [])) for day in sorted({*least, *firsts})]


def site_tuples(sites: Mapping[str, str], now: int) -> list[tuple[str, str, int]]:
    """Rows of `sites`, in one order for all writers."""
    return [(text(domain), text(site), now) for domain, site in sorted(sites.items())]


def counter_tuples(tags: Iterable[TagCounters], now: int) -> list[tuple[str, str, int, str, str, int, int]]:
    """Rows of `tag_counters`, in one order for all writers."""
    return sorted(
        (text(one.tag), one.tenant, one.lane, one.epoch, field, many, now)
        for one in tags
        for field, many in one.counts.items()
    )


def tag_counters_of(tag: str, tenant: str, rows: Iterable[tuple[int, str, str, int]]) -> list[TagCounters]:
    """`rows` are (lane, epoch, field, count)."""
    found: dict[tuple[int, str], dict[str, int]] = {}
    for lane, epoch, field, many in rows:
        found.setdefault((lane, epoch), {})[field] = many
    return [TagCounters(tag, tenant, lane, epoch, counts) for (lane, epoch), counts in found.items()]


def text(value: str) -> str:
    """As a database takes it: PostgreSQL has no NUL, and neither has lone surrogates."""
    if value.isprintable():
        return value
    return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
