"""Ids of messages and deliveries: a ULID whose last two characters carry the lane.

In memory and in Redis ids are bytes: a message id is 16 bytes (48 bits of milliseconds, 70 random bits, 10 bits
of lane), a delivery id is the message id and two bytes with the recipient's number, counted from 1. Text form: the
ULID's 26 characters of Crockford base 32, and `<message id>.<n>` (https://github.com/ulid/spec).
"""

import base64
import functools
import struct
from collections.abc import Sequence
from random import getrandbits
from typing import Final, NewType

from mta.model.errors import BadValue

MessageId = NewType("MessageId", bytes)
DeliveryId = NewType("DeliveryId", bytes)

MAX_LANES = 1024
MAX_RECIPIENTS = 65535

_RFC4648 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_parts = struct.Struct(">HI5s5s").unpack
_from_bytes = int.from_bytes
_CHARACTERS = bytes.maketrans(bytes(range(32)), _CROCKFORD)
# Masks for the higher and lower 20, 10 and 5 bits in each 64, 32 and 16 bits.
_LOW_20, _LOW_10, _LOW_5 = int("00000000000FFFFF" * 3, 16), int("000003FF" * 5, 16), int("001F" * 10, 16)
_HIGH_20, _HIGH_10, _HIGH_5 = _LOW_20 << 20, _LOW_10 << 10, _LOW_5 << 5
# The same for many messages at once; a group of 64 bits has room for 8 characters.
_DELIVERY_BYTES: Final = 18
_TOGETHER: Final = 256
_ROOM: Final = 32  # octets for one of them
_TIME_END: Final = 7
_PLACES: Final = (4, 5, 6, 13, 14, 15, 19, 20, 21, 22, 23, 27, 28, 29, 30, 31)  # there of each octet of an id
_ALL_TIMES: Final = int(("00000000FFFFFFF0" + "0" * 48) * _TOGETHER, 16)
_ALL_OTHERS: Final = int(("0" * 16 + "00000000000FFFFF" + "000000FFFFFFFFFF" * 2) * _TOGETHER, 16)
_ALL_LOW_20: Final = int("00000000000FFFFF" * 4 * _TOGETHER, 16)
_ALL_LOW_10: Final = int("000003FF" * 8 * _TOGETHER, 16)
_ALL_LOW_5: Final = int("001F" * 16 * _TOGETHER, 16)
_ALL_HIGH_20, _ALL_HIGH_10, _ALL_HIGH_5 = _ALL_LOW_20 << 20, _ALL_LOW_10 << 10, _ALL_LOW_5 << 5
_FROM_CROCKFORD = bytes.maketrans(_CROCKFORD, _RFC4648)


def new_message_id(lane: int, now_ms: int) -> MessageId:
    """A fresh id in `lane` (0 to 1023), made at `now_ms` (Unix milliseconds)."""
    return MessageId((now_ms << 80 | getrandbits(70) << 10 | lane).to_bytes(16, "big"))


def first_message_id(lane: int, now_ms: int) -> MessageId:
    """As new_message_id, for the first message of a call: `id_in_row` makes the others' ids of it. The highest random
    bit is 0, so these have the same time."""
    return MessageId((now_ms << 80 | getrandbits(69) << 10 | lane).to_bytes(16, "big"))


def id_in_row(first: MessageId, place: int) -> MessageId:
    """The id of the message at `place` (0 = the first itself) of those that were handed in together."""
    return MessageId((int.from_bytes(first, "big") + (place << 10)).to_bytes(16, "big"))


def place_in_row(first: MessageId, message: MessageId) -> int:
    """The place that `id_in_row` made the id for."""
    return (int.from_bytes(message, "big") - int.from_bytes(first, "big")) >> 10


def made_at(message: MessageId) -> int:
    """Unix milliseconds at which the id was made."""
    return int.from_bytes(message[:6], "big")


def delivery_id(message: MessageId, number: int) -> DeliveryId:
    """The delivery to recipient `number` (from 1) of `message`."""
    return DeliveryId(message + number.to_bytes(2, "big"))


def message_of(delivery: DeliveryId) -> MessageId:
    return MessageId(delivery[:16])


def lane_of(some_id: bytes) -> int:
    """The lane of a message or delivery id."""
    return (some_id[14] & 3) << 8 | some_id[15]


@functools.lru_cache(maxsize=1024)  # a message is named several times in short order
def message_text(message: MessageId) -> str:
    """The ULID.

    Its last 100 bits are spread over 20 octets by halves, so that each gets 5 of them: a table of pairs of characters
    would be in no cache of the processor by the next message."""
    first, second, high, low = _parts(message)
    bits: int = (second & 0xFFFFF) << 128 | _from_bytes(high, "big") << 64 | _from_bytes(low, "big")
    bits = (bits & _HIGH_20) << 12 | bits & _LOW_20
    bits = (bits & _HIGH_10) << 6 | bits & _LOW_10
    bits = (bits & _HIGH_5) << 3 | bits & _LOW_5
    return _time_text(first << 12 | second >> 20) + bits.to_bytes(20, "big").translate(_CHARACTERS).decode("ascii")


def message_texts(ids: Sequence[bytes]) -> list[str]:
    """The texts of the messages of many deliveries, which cost a third together.

    One number has four groups of 64 bits for each message, which get 28, 20, 40 and 40 bits of its id. All of them are
    spread at once as `message_text` spreads those of one."""
    found: list[str] = []
    for begin in range(0, len(ids), _TOGETHER):
        joined = b"".join(ids[begin : begin + _TOGETHER])
        groups = bytearray(len(joined) // _DELIVERY_BYTES * _ROOM)
        groups[_TIME_END::_ROOM] = joined[3::_DELIVERY_BYTES]  # 4 bits of it belong to the time, and 4 do not
        for at, place in enumerate(_PLACES):
            groups[place::_ROOM] = joined[at::_DELIVERY_BYTES]
        bits = _from_bytes(groups, "big")
        bits = (bits & _ALL_TIMES) >> 4 | bits & _ALL_OTHERS
        bits = (bits & _ALL_HIGH_20) << 12 | bits & _ALL_LOW_20
        bits = (bits & _ALL_HIGH_10) << 6 | bits & _ALL_LOW_10
        bits = (bits & _ALL_HIGH_5) << 3 | bits & _ALL_LOW_5
        text = bits.to_bytes(len(groups), "big").translate(_CHARACTERS).decode("ascii")
        found += [text[at + 2 : at + 8] + text[at + 12 : at + _ROOM] for at in range(0, len(text), _ROOM)]
    return found


@functools.lru_cache(maxsize=64)
def _time_text(time: int) -> str:
    """The first six characters, which all messages of 17 minutes share. `time` is in units of 2^20 ms."""
    return "".join([chr(_CROCKFORD[time >> shift & 31]) for shift in range(25, -5, -5)])


def delivery_text(delivery: DeliveryId) -> str:
    return f"{message_text(message_of(delivery))}.{int.from_bytes(delivery[16:], 'big')}"


def parse_id(text: str) -> tuple[MessageId, int]:
    """The message, and the number of the recipient where `text` is the id of a delivery, else 0. Raises BadValue."""
    message, dot, number = text.partition(".")
    if not dot:
        return parse_message_id(message), 0
    if not (number.isascii() and number.isdigit() and number[0] != "0" and int(number[:6]) <= MAX_RECIPIENTS):
        raise BadValue("id", f"{text!r} is not the id of a delivery; give <message id>.<number of the recipient>")
    return parse_message_id(message), int(number)


def parse_message_id(text: str) -> MessageId:
    """Raises BadValue: `text` is not a ULID of 26 characters."""
    raw = text.upper().encode("ascii", "replace")
    if len(raw) != 26 or raw[0] > ord("7") or raw.translate(None, _CROCKFORD):
        raise BadValue("id", f"{text!r} is not a message id; give the 26 characters of the 250 reply or the log")
    return MessageId(base64.b32decode(b"AAAAAA" + raw.translate(_FROM_CROCKFORD))[4:])
