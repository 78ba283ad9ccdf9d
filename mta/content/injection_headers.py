"""The injection headers of a message: the fields that were taken out become an `Injection`.

Raises BadValue whose field is the header's name as the client wrote it; no value of a refused header is shown, save a
time or duration that is none.
"""

import email.errors
import email.header
import functools
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Sequence

import msgspec

from mta.content.due_time import check_due, parse_due
from mta.content.header_block import MAX_FIELDS, split_fields
from mta.content.header_names import is_unsupported, nearest
from mta.model.errors import BadValue
from mta.model.idempotency import check_key
from mta.model.injection import NOTHING_ASKED, Hold, Injection
from mta.model.shares import HIGHEST, TENANT
from mta.model.suppressions import MOST_TOPIC
from mta.model.text import composed
from mta.model.units import parse_duration, parse_time

MAX_TAGS = 64
MAX_TAG = 128  # bytes of UTF-8
MAX_PROPERTIES = 32
MAX_PROPERTY = 1024  # bytes of UTF-8
MAX_PROPERTY_NAME = 128
MAX_RETRIES = 100
MAX_VALUE = 4096  # octets as written, with folds and encoded words: decoding these takes time by the square of it
_LONGEST_RETRY = 30 * 86400
_LONGEST_NAME = 255  # octets with the prefix; the names of properties are held to less
_REMEMBERED = 1024  # bytes of fields whose result is cached

_OF_THE_TIME = frozenset(("delayed", "maxdelivertime"))
_FOLD = re.compile(r"\r\n[ \t]+")
_NAME = re.compile(r"[!-9;-~]+")
_CONTROL = frozenset(("Cc", "Cs", "Zl", "Zp"))
_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_PRIORITIES = frozenset(map(str, range(HIGHEST + 1)))
_NUMBER = re.compile(r"[0-9]{1,6}")


def read_injection(lines: bytes, prefixes: tuple[str, ...], ignored: frozenset[str], now_ms: int) -> Injection:
    """`lines` of the fields as they were taken out; `ignored`: full names, lower case, that are dropped unread."""
    if not lines:
        return NOTHING_ASKED
    asked = _read_once(lines, prefixes, ignored) if len(lines) <= _REMEMBERED else None
    return asked if asked is not None else _read(_wanted(lines, prefixes, ignored), now_ms)


def held(asked: Injection, hold: Hold, now_ms: int) -> Injection:
    """With the time of release that MAIL asks for. Raises BadValue: the header asks for one, too, or it is
    out of bounds."""
    if asked.due_at is not None:
        raise BadValue("X-MQ-Delayed", f"is given beside {hold.parameter} of MAIL; give one of them")
    due_at = check_due(hold.until or now_ms + hold.seconds * 1000, hold.parameter, now_ms)
    found: Injection = msgspec.structs.replace(asked, due_at=due_at)
    return found


def refuse_strays(lines: bytes, prefixes: tuple[str, ...], ignored: frozenset[str]) -> None:
    """Raises BadValue for the first of these fields that is not ignored: they stand behind a line that is no header
    field, so the client may have meant them as header or as text."""
    for name, _ in split_fields(lines):
        shown, asked = _asked(name[:_LONGEST_NAME], prefixes, ignored)
        if asked is not None:
            reason = "stands behind a line that is no header field; mend that line, or put an empty line before it"
            raise BadValue(shown[:60], reason)


@functools.lru_cache(maxsize=1024)
def _read_once(lines: bytes, prefixes: tuple[str, ...], ignored: frozenset[str]) -> Injection | None:
    """Remembered, since most messages of a campaign have the same headers; None: the result depends on the time."""
    wanted = _wanted(lines, prefixes, ignored)
    return None if any(name in _OF_THE_TIME for name, _, _ in wanted) else _read(wanted, 0)


def _wanted(lines: bytes, prefixes: tuple[str, ...], ignored: frozenset[str]) -> list[tuple[str, str, bytes]]:
    """Of each field that is not ignored: its name as `_asked` gives it, its name as it is shown, its value."""
    wanted = []
    fields = split_fields(lines)
    for name, value in fields:
        if len(name) > _LONGEST_NAME:
            raise BadValue(name[:60].decode("ascii", "replace"), "is not a header name")
        shown, asked = _asked(name, prefixes, ignored)
        if len(value) > MAX_VALUE:
            raise BadValue(shown, f"is longer than {MAX_VALUE} octets; shorten it")
        if asked is not None:
            wanted.append((asked, shown, value))
    if len(fields) > MAX_FIELDS:
        raise BadValue(shown, f"is one of more than {MAX_FIELDS} injection headers; remove some")
    return wanted


def _read(wanted: Sequence[tuple[str, str, bytes]], now_ms: int) -> Injection:
    reader = _Reader(now_ms)
    for asked, shown, value in wanted:
        reader.read(asked, shown, value)
    return reader.finish()


@functools.lru_cache(maxsize=1024)
def _asked(name: bytes, prefixes: tuple[str, ...], ignored: frozenset[str]) -> tuple[str, str | None]:
    """The header's name as it is shown, and in lower case without its prefix; None instead: it is ignored."""
    shown = name.decode("ascii", "replace")
    lowered = shown.lower()
    if lowered not in ignored:
        for prefix in prefixes:
            if lowered.startswith(prefix):
                return shown, lowered[len(prefix) :]
    return shown, None


def decode_value(value: bytes, field: str) -> str:
    """Unfolded, encoded words decoded, blanks around it gone."""
    plain = value.strip(b" \t")
    if plain.isascii() and b"=" not in plain and (text := plain.decode("ascii")).isprintable():
        return text  # no fold, and no `=`: no encoded word either
    try:
        text = _FOLD.sub(" ", value.decode("utf-8")).strip(" \t")
    except UnicodeDecodeError:
        raise BadValue(field, "is not UTF-8; send UTF-8 or encoded words (RFC 2047)") from None
    if "=?" in text:
        try:
            text = str(email.header.make_header(email.header.decode_header(text))).strip(" \t")
        except (email.errors.MessageError, LookupError, ValueError):
            raise BadValue(field, "has an encoded word that cannot be decoded") from None
    if not text.isprintable() and any(unicodedata.category(letter) in _CONTROL for letter in text):
        raise BadValue(field, "has a control character; remove it")
    return text


class _Reader:
    """Gathers the fields of one message."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.tags: dict[str, None] = {}
        self.tenant = ""
        self.priority = 0
        self.topic = ""
        self.pool: str | None = None
        self.pool_from = ""
        self.properties: dict[str, str] = {}
        self.once: dict[str, str] = {}
        self.sender: str | None = None
        self.due_at: int | None = None
        self.expires_at: int | None = None
        self.max_attempts: int | None = None
        self.retries: tuple[int, ...] = ()
        self.idempotency_key = ""

    def read(self, name: str, shown: str, raw: bytes) -> None:
        """`name` is lower case and without prefix, `shown` as the client wrote it."""
        if name == "tag":
            self._tag(shown, decode_value(raw, shown))
            return
        if is_unsupported(name):
            raise BadValue(shown, "is not supported; remove it, or list it in smtp.ignore_headers")
        known = _KNOWN.get(name)
        if known is None:
            meant = nearest(name)
            if meant:
                raise BadValue(shown, f"did you mean {shown[: len(shown) - len(name)]}{meant}? Rename or remove it")
            self._property(name, shown, decode_value(raw, shown))
            return
        value = decode_value(raw, shown)
        if self.once.setdefault(name, value) != value:
            raise BadValue(shown, "is given twice with different values; give one")
        if not value:
            raise BadValue(shown, "is empty")
        known(self, shown, value)

    def finish(self) -> Injection:
        return Injection(
            tags=tuple(self.tags),
            tenant=self.tenant,
            priority=self.priority,
            topic=self.topic,
            pool=self.pool,
            sender=self.sender,
            due_at=self.due_at,
            expires_at=self.expires_at,
            max_attempts=self.max_attempts,
            retries=self.retries,
            properties=self.properties or None,
            idempotency_key=self.idempotency_key,
        )

    def _tag(self, shown: str, value: str) -> None:
        value = composed(value)
        if not value or (len(value) > MAX_TAG // 4 and len(value.encode()) > MAX_TAG):
            raise BadValue(shown, f"a tag has 1 to {MAX_TAG} bytes of UTF-8")
        self.tags[value] = None
        if len(self.tags) > MAX_TAGS:
            raise BadValue(shown, f"more than {MAX_TAGS} tags")

    def _tenant(self, shown: str, value: str) -> None:
        if not TENANT.fullmatch(value):
            raise BadValue(
                shown, "a tenant's name is 1 to 63 letters, digits, - and _, and begins with a letter or digit"
            )
        self.tenant = value

    def _priority(self, shown: str, value: str) -> None:
        if value not in _PRIORITIES:
            raise BadValue(shown, f"is not a priority class: 0 (bulk) to {HIGHEST}")
        self.priority = int(value)

    def _idempotency_key(self, shown: str, value: str) -> None:
        self.idempotency_key = check_key(value, shown)

    def _topic(self, shown: str, value: str) -> None:
        value = composed(value)
        if len(value.encode()) > MOST_TOPIC:
            raise BadValue(shown, f"a topic has 1 to {MOST_TOPIC} bytes of UTF-8")
        self.topic = value

    def _property(self, name: str, shown: str, value: str) -> None:
        if not _NAME.fullmatch(name) or len(name) > MAX_PROPERTY_NAME:
            raise BadValue(shown.encode("ascii", "replace").decode()[:60], "is not a header name")
        if len(value.encode()) > MAX_PROPERTY:
            raise BadValue(shown, f"a property has at most {MAX_PROPERTY} bytes")
        if self.properties.setdefault(name, value) != value:
            raise BadValue(shown, "is given twice with different values; give one")
        if len(self.properties) > MAX_PROPERTIES:
            raise BadValue(shown, f"more than {MAX_PROPERTIES} properties")

    def _choose_pool(self, shown: str, pool: str) -> None:
        if self.pool_from and self.pool != pool:
            raise BadValue(shown, f"excludes {self.pool_from}; give one of them")
        self.pool = pool
        self.pool_from = shown

    def _pool(self, shown: str, value: str) -> None:
        if not _POOL.fullmatch(value):
            raise BadValue(
                shown, "a pool's name is 1 to 63 letters, digits, - and _, and begins with a letter or digit"
            )
        self._choose_pool(shown, value)

    def _ip(self, shown: str, value: str) -> None:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            several = "," in value or ";" in value or " " in value
            reason = "names several addresses; make them a pool and name it" if several else "is not an IP address"
            raise BadValue(shown, reason) from None
        if "%" in value:
            raise BadValue(shown, "is not an IP address")
        self._choose_pool(shown, f"@{address.compressed}")

    def _envelope(self, shown: str, value: str) -> None:
        self.sender = value[1:-1] if value.startswith("<") and value.endswith(">") else value

    def _delayed(self, shown: str, value: str) -> None:
        self.due_at = parse_due(value, shown, self.now_ms)

    def _max_deliver_time(self, shown: str, value: str) -> None:
        self.expires_at = parse_time(value, shown, self.now_ms)

    def _max_attempts(self, shown: str, value: str) -> None:
        if not _NUMBER.fullmatch(value):
            raise BadValue(shown, "is not a number of attempts (0 = no limit)")
        self.max_attempts = int(value)

    def _retries(self, shown: str, value: str) -> None:
        words = value.split(",")
        if len(words) > MAX_RETRIES:
            raise BadValue(shown, f"more than {MAX_RETRIES} intervals")
        seconds = [-int(-parse_duration(word, shown) // 1) for word in words]
        if not all(1 <= one <= _LONGEST_RETRY for one in seconds):
            raise BadValue(shown, "each interval is one second to 30 days")
        self.retries = tuple(seconds)


_KNOWN: dict[str, Callable[[_Reader, str, str], None]] = {
    "tenant": _Reader._tenant,
    "priority": _Reader._priority,
    "topic": _Reader._topic,
    "pool": _Reader._pool,
    "ip": _Reader._ip,
    "envelope": _Reader._envelope,
    "delayed": _Reader._delayed,
    "maxdelivertime": _Reader._max_deliver_time,
    "maxattempts": _Reader._max_attempts,
    "retries": _Reader._retries,
    "idempotency-key": _Reader._idempotency_key,
}
