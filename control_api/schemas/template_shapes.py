"""Templates of mail as requests order them and as answers show them."""

import re
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import account_values, patterns, values
from control_api.schemas.answers import Count, Time
from control_api.schemas.reading import Body
from control_api.schemas.values import NO_CURSOR, Value, a_text
from mta.model.errors import BadValue
from mta.model.templates import MAX_PART, MAX_SUBJECT
from mta.model.templates import NAME as _NAME

_CURSOR: Final = rf"{patterns.NAME}~({patterns.NAME})?"
_MOST_VERSION: Final = 1_000_000_000


def _read_name(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadValue(field, "is not a template's name: 1 to 63 letters, digits, - and _, a letter or digit first")
    return value


def _part(most: int) -> Value:
    def read(value: Any, field: str) -> str:
        if not isinstance(value, str):
            raise BadValue(field, "is not a text")
        return value

    return Value(read, {"type": "string", "maxLength": most})


def _read_version(value: Any, field: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)  # of a query string
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 2.0 is a whole number in JSON
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_VERSION:
        raise BadValue(field, "is not the number of a version: 1 or more")
    return value


def _read_data(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadValue(field, 'is not an object, such as {"name": "Ada"}')
    return value


def _read_cursor(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, str) or not re.fullmatch(_CURSOR, value):
        raise BadValue(field, NO_CURSOR)
    return tuple(value.split("~"))


NAME = Value(_read_name, a_text(patterns.NAME), "give the name of a template")
VERSION = Value(_read_version, {"type": "integer", "minimum": 1, "maximum": _MOST_VERSION}, "give a version")
DATA = Value(_read_data, {"type": "object"}, "give the values of the names in the template")
_TEMPLATE_CURSOR = Value(_read_cursor, a_text(_CURSOR))


class TemplateBody(Struct, kw_only=True, frozen=True):
    """A draft of a template: Jinja2's syntax. At least one part is needed."""

    subject: Annotated[
        str | None, _part(MAX_SUBJECT), Meta(description="of at most 4 KiB; line breaks in it become blanks")
    ] = None
    text: Annotated[str | None, _part(MAX_PART), Meta(description="plain text, at most 256 KiB")] = None
    html: Annotated[
        str | None, _part(MAX_PART), Meta(description="HTML, at most 256 KiB; values are escaped in it")
    ] = None


class PublicationBody(Struct, kw_only=True, frozen=True):
    """The version that mail is to use."""

    version: Annotated[int | None, VERSION, Meta(description="default: the newest one")] = None


class RenderingBody(Struct, kw_only=True, frozen=True):
    """The data that a mail is rendered with."""

    data: Annotated[dict[str, Any] | None, DATA, Meta(description="values by name; null is no value")] = None
    version: Annotated[int | None, VERSION, Meta(description="default: the newest one")] = None


TEMPLATE = Body(
    "TemplateParts",
    TemplateBody,
    agreements=tuple(
        {"required": [part], "properties": {part: {"type": "string"}}} for part in ("subject", "text", "html")
    ),
    json_only=True,
)
PUBLICATION = Body("TemplatePublication", PublicationBody, json_only=True)
RENDERING = Body("TemplateRendering", RenderingBody, json_only=True)


class OwnerQuery(Struct, kw_only=True, frozen=True):
    """The owner of a template."""

    tenant: Annotated[
        str | None,
        account_values.TENANT_NAME,
        Meta(description="the template of this tenant; default: of the token's tenant, else of the operator"),
    ] = None


class TemplateQuery(OwnerQuery, kw_only=True, frozen=True):
    """The owner and the version of a template."""

    version: Annotated[int | None, VERSION, Meta(description="show the parts of it; default: of the newest one")] = None


class TemplatesQuery(Struct, kw_only=True, frozen=True):
    """A selection of templates, and the size of a page."""

    tenant: Annotated[str | None, account_values.TENANT_NAME, Meta(description="those of this tenant")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 1000
    cursor: Annotated[tuple[str, ...] | None, _TEMPLATE_CURSOR, Meta(description="opaque, from the answer before")] = (
        None
    )


class VersionShown(Struct, kw_only=True, frozen=True):
    """A version of a template."""

    version: Count
    size: Annotated[Count, Meta(description="bytes of its parts")]
    created_at: Time | None
    created_by: str
    published_at: Annotated[Time | UnsetType, Meta(description="when it was published last")] = UNSET


class TemplateListed(Struct, kw_only=True, frozen=True):
    """A template."""

    name: str
    tenant: Annotated[
        str | UnsetType, Meta(description="absent: it is the operator's; mail of each tenant may use it")
    ] = UNSET
    published: Annotated[Count | None, Meta(description="the version that mail uses; null: none")]
    latest: Annotated[Count, Meta(description="the newest version")]
    versions: Annotated[list[VersionShown], Meta(description="the oldest first; 20 are kept, and the published one")]


class TemplateShown(TemplateListed, kw_only=True, frozen=True):
    """A template, and the parts of one version of it."""

    version: Annotated[Count, Meta(description="the version whose parts these are")]
    subject: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    html: str | UnsetType = UNSET


class Templates(Struct, kw_only=True, frozen=True):
    """A page of the list of templates, by name; `cursor` is null on the last page."""

    templates: list[TemplateListed]
    cursor: str | None


class Rendered(Struct, kw_only=True, frozen=True):
    """A mail as it would be."""

    version: Annotated[Count, Meta(description="the version that was rendered")]
    subject: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    html: str | UnsetType = UNSET
