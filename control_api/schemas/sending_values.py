"""The kinds of values of messages that are sent: addresses, recipients, header fields."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from control_api.schemas import patterns, template_shapes
from control_api.schemas.address_values import read_address
from control_api.schemas.message_answers import Recipient
from control_api.schemas.reading import check_names
from control_api.schemas.values import FLAG, TAG, Schema, Value, a_text
from mta.content.compose import Mailbox
from mta.content.injection_headers import MAX_PROPERTIES, MAX_PROPERTY, MAX_PROPERTY_NAME, MAX_TAGS
from mta.content.template_data import Assignments, assignments
from mta.model.errors import BadValue
from mta.model.shares import HIGHEST

MAX_RECIPIENTS: Final = 10_000  # that one call with a JSON body may have, whatever the settings say
_MAX_NAME: Final = 320  # characters
_MAX_SUBJECT: Final = 2000
_MAX_FIELDS: Final = 50
_MAX_VALUE: Final = 8000

_FIELD_NAME: Final = re.compile(r"[!-9;-~]{1,76}", re.ASCII)
_PROPERTY: Final = re.compile(rf"[!-9;-~]{{1,{MAX_PROPERTY_NAME}}}", re.ASCII)
_NAMED: Final = re.compile(r"\s*([^<>]*?)\s*<([^<>]*)>\s*")  # Ann Example <ann@example.com>, RFC 5322 3.4
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_OTHER_WAYS: Final = {
    "from": "from", "to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to", "subject": "subject",
    "return-path": "envelope_from", "mime-version": "", "date": "", "message-id": "", "received": "",
    "dkim-signature": "", "authentication-results": "",
}  # fmt: skip
_OTHER_PREFIXES: Final = ("content-", "arc-", "x-mq-", "x-floodgate-", "resent-")


class BadData(BadValue):
    """The data of a recipient make no message of the template of a call."""


class Addressee(NamedTuple):
    """A recipient of a call. One whose address cannot be used gets an answer of its own."""

    field: str  # of its address, such as `to[3].email`
    given: str
    mailbox: Mailbox
    problem: BadValue | None = None
    metadata: dict[str, str] | None = None
    data: Assignments | None = None  # for templates


class Track(NamedTuple):
    """The engagement that a call wants to hear of."""

    opens: bool
    clicks: bool


class TemplateName(NamedTuple):
    """A template that a call names."""

    name: str
    version: int | None = None  # None: the one that is published


def read_mailbox(address: str, field: str, name: str = "") -> Mailbox:
    """Raises BadValue."""
    return Mailbox(read_address(address.strip(), field), name)


def check_names_in(field: str, given: Mapping[str, Any], known: Collection[str], noun: str) -> None:
    """As check_names; the error names the field that the object is in, too."""
    try:
        check_names(given, known, noun)
    except BadValue as bad:
        raise BadValue(f"{field}.{bad.field}", bad.reason) from None


def _parts(value: Any, field: str, known: tuple[str, ...]) -> tuple[str, str, str, Mapping[str, Any]]:
    """The field of an address, the address, the name, and the object that they are from. Raises BadValue."""
    if isinstance(value, str):
        if (named := _NAMED.fullmatch(value)) is None:
            return field, value, "", {}
        return field, named[2], _read_name(_unquoted(named[1]), field), {}
    if not isinstance(value, dict):
        raise BadValue(field, 'is neither an address nor an object such as {"email": "ann@example.com"}')
    check_names_in(field, value, known, "a field of an address")
    address, name = value.get("email"), value.get("name")
    if not isinstance(address, str):
        raise BadValue(f"{field}.email", "is required; give an address")
    return f"{field}.email", address, "" if name is None else _read_name(name, f"{field}.name"), value


def _unquoted(name: str) -> str:
    """The text of a quoted string (RFC 5322 3.2.4), or the name itself."""
    if len(name) < 2 or name[0] != '"' or name[-1] != '"':
        return name
    return _QUOTED_PAIR.sub(r"\1", name[1:-1])


def _read_name(value: Any, field: str) -> str:
    if not isinstance(value, str) or CONTROL.search(value) or len(value) > _MAX_NAME:
        raise BadValue(field, f"is not a name: one line of at most {_MAX_NAME} characters")
    return value.strip()


def _read_address(value: Any, field: str) -> Mailbox:
    where, address, name, _ = _parts(value, field, ("email", "name"))
    return read_mailbox(address, where, name)


def _read_addresses(value: Any, field: str) -> tuple[Mailbox, ...]:
    if not isinstance(value, list):
        return (_read_address(value, field),)
    if not 1 <= len(value) <= _MAX_FIELDS:
        raise BadValue(field, f"is not an address or a list of 1 to {_MAX_FIELDS} addresses")
    return tuple(_read_address(one, f"{field}[{at}]") for at, one in enumerate(value))


def _read_envelope(value: Any, field: str) -> str:
    """ "" is the null sender."""
    if not isinstance(value, str):
        raise BadValue(field, 'is not an address; write local-part@domain, or "" for the null sender')
    return read_mailbox(value, field).address if value.strip() not in ("", "<>") else ""


def read_addressee(value: Any, field: str) -> Addressee:
    """A recipient: an address, or an object with one. Raises BadValue where it is neither."""
    where, address, name, given = _parts(value, field, ("email", "name", "metadata", "data"))
    found = given.get("metadata")
    metadata = None if found is None else read_metadata(found, f"{field}.metadata")
    data = None if (found := given.get("data")) is None else _read_data(found, f"{field}.data")
    try:
        return Addressee(where, address, read_mailbox(address, where, name), None, metadata, data)
    except BadValue as bad:
        return Addressee(where, address, Mailbox("", name), BadValue(where, bad.reason), metadata, data)


def read_follower(value: Any, field: str) -> Addressee:
    """A recipient on a line of its own: as in a list, or a record of a delivery as exports write it. Raises
    BadValue."""
    if isinstance(value, dict) and "recipient" in value and "email" not in value:
        check_names_in(field, value, _RECORD, "a field of a record")
        return read_addressee(value["recipient"], f"{field}.recipient")
    return read_addressee(value, field)


def _read_addressees(value: Any, field: str) -> list[Addressee]:
    if not isinstance(value, list):
        return [read_addressee(value, field)]
    if len(value) > MAX_RECIPIENTS:
        raise BadValue(field, f"has {len(value)} recipients; give at most {MAX_RECIPIENTS} in one call, or a stream")
    return [read_addressee(one, f"{field}[{at}]") for at, one in enumerate(value)]


def read_metadata(value: Any, field: str) -> dict[str, str]:
    """Custom properties: names in lower case. Raises BadValue."""
    if not isinstance(value, dict) or len(value) > MAX_PROPERTIES:
        raise BadValue(field, f"is not an object of at most {MAX_PROPERTIES} names with texts")
    found: dict[str, str] = {}
    for name, text in value.items():
        if not _PROPERTY.fullmatch(name):
            raise BadValue(field, f"a name is 1 to {MAX_PROPERTY_NAME} printable ASCII characters without blank and :")
        if not isinstance(text, str) or CONTROL.search(text) or len(text.encode()) > MAX_PROPERTY:
            raise BadValue(f"{field}.{name}", f"is not one line of at most {MAX_PROPERTY} bytes of text")
        if found.setdefault(name.lower(), text) != text:
            raise BadValue(f"{field}.{name}", "is given twice with different values; give one")
    return found


def _read_data(value: Any, field: str) -> Assignments:
    if not isinstance(value, dict):
        raise BadValue(field, 'is not an object, such as {"name": "Ada"}')
    return assignments(value, field)


def _read_template(value: Any, field: str) -> TemplateName:
    if isinstance(value, str):
        return TemplateName(template_shapes.NAME.read(value, field))
    if not isinstance(value, dict):
        raise BadValue(field, 'is neither a name nor an object such as {"name": "order", "version": 3}')
    check_names(value, ("name", "version"), "a field of a template")
    name, version = value.get("name"), value.get("version")
    number = None if version is None else template_shapes.VERSION.read(version, f"{field}.version")
    return TemplateName(template_shapes.NAME.read(name, f"{field}.name"), number)


def _read_track(value: Any, field: str) -> Track:
    if isinstance(value, bool):
        return Track(value, value)
    if not isinstance(value, dict):
        raise BadValue(field, 'is neither true nor false, nor an object such as {"opens": true, "clicks": false}')
    check_names_in(field, value, ("opens", "clicks"), "a field of track")
    return Track(*(FLAG.read(value.get(name, True), f"{field}.{name}") for name in ("opens", "clicks")))


def _read_text(value: Any, field: str) -> str:
    if not isinstance(value, str) or _SURROGATE.search(value) or "\0" in value:
        raise BadValue(field, "is not a text; give a string of Unicode characters without NUL")
    return value


def _read_subject(value: Any, field: str) -> str:
    if not isinstance(value, str) or CONTROL.search(value) or len(value) > _MAX_SUBJECT:
        raise BadValue(field, f"is not one line of at most {_MAX_SUBJECT} characters; remove line ends and controls")
    return value.strip()


def _read_headers(value: Any, field: str) -> tuple[tuple[str, str], ...]:
    """Name and value of each field, in order."""
    if not isinstance(value, dict):
        raise BadValue(field, "is not an object of names with texts, or lists of texts")
    found: list[tuple[str, str]] = []
    for name, texts in value.items():
        where = f"{field}.{name[:80]}"
        _check_field_name(name, where)
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str) or CONTROL.search(text) or not 1 <= len(text.strip()) <= _MAX_VALUE:
                raise BadValue(where, f"is not one line of 1 to {_MAX_VALUE} characters; remove line ends and controls")
            found.append((name, text.strip()))
    if len(found) > _MAX_FIELDS:
        raise BadValue(field, f"has {len(found)} fields; give at most {_MAX_FIELDS}")
    return tuple(found)


def _check_field_name(name: str, where: str) -> None:
    if not _FIELD_NAME.fullmatch(name):
        raise BadValue(where, "is not the name of a header field; use printable ASCII without blank and colon")
    lowered = name.lower()
    if lowered in _OTHER_WAYS or lowered.startswith(_OTHER_PREFIXES):
        other = _OTHER_WAYS.get(lowered)
        fix = f"give it as {other}" if other else "Floodgate writes it; leave it out"
        if lowered.startswith(("x-mq-", "x-floodgate-")):
            fix = "give tags, pool, metadata and the like as fields of the body"
        raise BadValue(where, f"cannot be set here: {fix}")


def _read_priority(value: Any, field: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HIGHEST:
        raise BadValue(field, f"is not a priority class: 0 (bulk) to {HIGHEST}")
    return value


def _read_tags(value: Any, field: str) -> tuple[str, ...]:
    """Each once, in order."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > MAX_TAGS:
        raise BadValue(field, f"is not a list of at most {MAX_TAGS} tags")
    return tuple(dict.fromkeys(TAG.read(one, f"{field}[{at}]") for at, one in enumerate(items)))


_RECORD: Final = frozenset(Recipient.__struct_fields__)
_PLAIN_TEXT: Final[Schema] = {"type": "string", "pattern": "^[ -~\\n]*$"}
_NAME_SCHEMA: Final = a_text(patterns.TITLE)
_METADATA_SCHEMA: Final[Schema] = {
    "type": "object",
    "additionalProperties": a_text("[ -~]{0,200}"),
    "propertyNames": {"pattern": "^[a-z][a-z0-9_-]{0,30}$"},
    "maxProperties": MAX_PROPERTIES,
}


def an_object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_ADDRESS_SCHEMA: Final[Schema] = {
    "anyOf": [
        a_text(patterns.MAILBOX),
        an_object(("email",), email=a_text(patterns.RECIPIENT), name=_NAME_SCHEMA),
    ]
}
_ADDRESSEE_SCHEMA: Final[Schema] = {
    "anyOf": [
        a_text(patterns.MAILBOX),
        an_object(
            ("email",),
            email=a_text(patterns.RECIPIENT),
            name=_NAME_SCHEMA,
            metadata=_METADATA_SCHEMA,
            data={"type": "object"},
        ),
    ]
}
ADDRESS: Final = Value(_read_address, _ADDRESS_SCHEMA, "give an address")
ADDRESSES: Final = Value(
    _read_addresses,
    {"anyOf": [*_ADDRESS_SCHEMA["anyOf"], {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 1, "maxItems": 50}]},
)
ENVELOPE: Final = Value(_read_envelope, a_text(f"({patterns.RECIPIENT})?"))
ADDRESSEES: Final = Value(
    _read_addressees,
    {
        "anyOf": [
            *_ADDRESSEE_SCHEMA["anyOf"],
            {"type": "array", "items": _ADDRESSEE_SCHEMA, "minItems": 1, "maxItems": MAX_RECIPIENTS},
        ]
    },
    "give an address, or a list of addresses",
)
SUBJECT: Final = Value(_read_subject, a_text(patterns.LINE, maxLength=_MAX_SUBJECT))
TEXT: Final = Value(_read_text, _PLAIN_TEXT)
HEADERS: Final = Value(
    _read_headers,
    {
        "type": "object",
        "additionalProperties": a_text("[!-~]{1,100}"),
        "propertyNames": {"pattern": "^X-[A-E][a-z]{1,20}$"},
        "maxProperties": _MAX_FIELDS,
    },
)
TAGS: Final = Value(
    _read_tags,
    {"anyOf": [{"type": "array", "items": a_text(patterns.LABEL), "maxItems": MAX_TAGS}, a_text(patterns.LABEL)]},
)
DATA: Final = Value(_read_data, {"type": "object"})
TRACK: Final = Value(
    _read_track,
    {"anyOf": [{"type": "boolean"}, an_object((), opens={"type": "boolean"}, clicks={"type": "boolean"})]},
)
TEMPLATE: Final = Value(
    _read_template,
    {
        "anyOf": [
            a_text(patterns.NAME),
            an_object(("name",), name=a_text(patterns.NAME), version={"type": "integer"}),
        ]
    },
)
METADATA: Final = Value(read_metadata, _METADATA_SCHEMA)
PRIORITY: Final = Value(_read_priority, {"type": "integer", "minimum": 0, "maximum": HIGHEST})
