"""Forced errors and pauses as requests describe them."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from control_api.schemas import message_values, values
from control_api.schemas.patterns import ENHANCED_TAIL
from control_api.schemas.reading import Body, fields_of
from control_api.schemas.values import Schema, optional
from mta.model.rules import AtTheDoor, InFlight, Kind


class RuleSelectors(Struct, kw_only=True, frozen=True):
    """The selectors of a rule; null and `*` mean that one is absent."""

    pool: Annotated[str | None, values.ONE_POOL, Meta(description="IP pool, or @<ip>; not together with mta")] = None
    mta: Annotated[str | None, values.ONE_ADDRESS, Meta(description="sending IP address")] = None
    domain: Annotated[
        str | tuple[str, ...] | None,
        message_values.NAMES,
        Meta(description="target domain in A-labels, or *.domain for its subdomains; or a list, one of which matches"),
    ] = None
    site: Annotated[
        str | None,
        values.ONE_SITE,
        Meta(description="the provider that takes the domain's mail: a name of [sites], or the MX hosts' domain"),
    ] = None
    ip: Annotated[
        str | None,
        values.ONE_ADDRESS,
        Meta(description="the peer's IP address; not together with domain or mx"),
    ] = None
    mx: Annotated[
        str | None,
        values.ONE_HOST,
        Meta(description="the peer's host, or *.host; not together with domain or ip"),
    ] = None
    tag: Annotated[str | None, values.ONE_TAG, Meta(description="1 to 128 bytes of UTF-8")] = None
    tags_all: Annotated[tuple[str, ...] | None, values.TAGS, Meta(description="all of them must be there")] = None
    except_tags: Annotated[
        tuple[str, ...] | None,
        values.TAGS,
        Meta(description="none of them may be there; alone it needs everything"),
    ] = None
    cluster: Annotated[bool, Meta(description="default true; false binds the rule to this node")] = True
    tenant: Annotated[
        str | None,
        values.ONE_TENANT,
        Meta(description="the account that mail came in for, 1 to 128 bytes of UTF-8"),
    ] = None
    sender: Annotated[
        str | None,
        message_values.ONE_SENDER,
        Meta(description="envelope sender, or *@domain; compared without case"),
    ] = None
    recipient: Annotated[
        str | None, message_values.ONE_RECIPIENT, Meta(description="envelope recipient; compared without case")
    ] = None
    accepted_before: Annotated[
        str | None,
        message_values.ONE_MOMENT,
        Meta(description="mail accepted before this instant: RFC 3339, +30m from now, or now"),
    ] = None
    accepted_after: Annotated[
        str | None,
        message_values.ONE_MOMENT,
        Meta(description="mail accepted at this instant or later, written likewise"),
    ] = None
    everything: Annotated[bool, Meta(description="must be true where no selector is given")] = False


class _Rule(RuleSelectors, kw_only=True, frozen=True):
    """The fields of both kinds of rules."""

    enabled: Annotated[bool, Meta(description="default true; false: it matches nothing")] = True
    in_flight: Annotated[
        InFlight | None, Meta(description="finish: a transaction that has begun may send its final dot")
    ] = InFlight.ABORT
    reason: Annotated[str | None, values.LINE, Meta(description="for people; not sent")] = None
    expires_at: Annotated[
        str | None,
        values.MOMENT,
        Meta(description="when it stops matching: RFC 3339, to come, or +30m from now"),
    ] = None
    duration: Annotated[
        float | None,
        values.DURATION,
        Meta(description='how long it matches, such as "30m", or seconds; instead of expires_at'),
    ] = None


class ForcedErrorBody(_Rule, kw_only=True, frozen=True):
    """A forced error."""

    code: Annotated[int, values.CODE, Meta(description="the SMTP code: 400 to 599, or 200 to 299 to discard")]
    extended: Annotated[
        str | None, values.ENHANCED, Meta(description="the enhanced status code; its class is the code's")
    ] = None
    description: Annotated[str | None, values.LINE, Meta(description="the text of the reply: one printable line")] = (
        None
    )
    at_the_door: Annotated[
        AtTheDoor | None, Meta(description="reject: matching mail is refused at its end of data")
    ] = AtTheDoor.ACCEPT
    undo: Annotated[
        bool | None,
        Meta(description="default true: an undo is possible for a while"),
    ] = True


class NewForcedErrorBody(ForcedErrorBody, kw_only=True, frozen=True):
    """A forced error as it is ordered: it may have a bound."""

    max_matches: Annotated[
        int | None,
        values.MOST,
        Meta(description="hold and count first; refuse the order with 409 if it matches more deliveries"),
    ] = None
    preview_token: Annotated[
        str | None,
        values.PREVIEW_TOKEN,
        Meta(description="of a preview with the same selectors: as max_matches, with its count and 5 % more"),
    ] = None


class PreviewedBody(ForcedErrorBody, kw_only=True, frozen=True):
    """A forced error that is not ordered yet."""

    code: Annotated[int, values.CODE, Meta(description="the SMTP code that an order would give; default 554")] = 554


class PauseBody(_Rule, kw_only=True, frozen=True):
    """A pause."""

    expire: Annotated[str | None, values.MOMENT, Meta(description="expires_at by another name")] = None
    schedule: Annotated[
        str | None,
        message_values.SCHEDULE,
        Meta(
            description='the times of the week at which it holds mail, such as "Mo-Fr 22:00-08:00; Sa,Su 00:00-24:00"'
        ),
    ] = None
    timezone: Annotated[
        str | None, message_values.TIMEZONE, Meta(description='of the schedule, such as "Europe/Berlin"; default UTC')
    ] = None


class RuleSetBody(Struct, kw_only=True, frozen=True):
    """Changes of many forced errors by one order."""

    create: Annotated[
        list[Any] | None,
        values.listed({"$ref": "#/components/schemas/ForcedErrorOfSet"}, "forced errors", values.MAX_IN_SET),
        Meta(description="forced errors to make; one with the selectors of a rule that is there replaces it"),
    ] = None
    remove: Annotated[
        list[Any] | None,
        values.listed({"type": "string", "minLength": 1, "maxLength": 64}, "ids", values.MAX_IN_SET),
        Meta(description="ids of forced errors to lift"),
    ] = None


def _agreements() -> Iterator[Schema]:
    """The class of the enhanced code is that of the code, and no mail is refused with success."""
    for digit in "452":
        extended = optional(values.a_text(digit + ENHANCED_TAIL))
        properties = {"code": values.code_schema(digit), "extended": extended}
        if digit == "2":
            properties["at_the_door"] = optional(values.choice((AtTheDoor.ACCEPT,)).schema)
        yield {"properties": properties}


AGREEMENTS: Final = tuple(_agreements())
NOUNS: Final = {Kind.ERROR: "forced error", Kind.PAUSE: "pause"}
RECURRING: Final = frozenset({"schedule", "timezone"})  # of a pause
SELECTORS: Final = RECURRING | frozenset(fields_of(RuleSelectors))  # they are what a rule is: no edit changes them
BOUNDS: Final = ("max_matches", "preview_token")
OF_ERRORS_ONLY: Final = frozenset(fields_of(NewForcedErrorBody)) - frozenset(fields_of(PauseBody))

NEW: Final = {
    Kind.ERROR: Body("NewForcedError", NewForcedErrorBody, agreements=AGREEMENTS),
    Kind.PAUSE: Body("NewPause", PauseBody),
}
EDITS: Final = {
    Kind.ERROR: Body("Edit", ForcedErrorBody, leaves_out=SELECTORS, is_edit=True, agreements=AGREEMENTS),
    Kind.PAUSE: Body("PauseEdit", PauseBody, leaves_out=SELECTORS, is_edit=True),
}
CONVERSION: Final = Body("Conversion", ForcedErrorBody, leaves_out=SELECTORS, agreements=AGREEMENTS)
PREVIEWED: Final = Body("PreviewedForcedError", PreviewedBody, agreements=AGREEMENTS)
# A removal takes the other fields of a rule, whatever they are, so that an order can be sent as it was.
LIFTING: Final = {
    Kind.ERROR: Body("Selectors", NewForcedErrorBody, ignores=frozenset(fields_of(NewForcedErrorBody)) - SELECTORS),
    Kind.PAUSE: Body("PauseSelectors", PauseBody, ignores=frozenset(fields_of(PauseBody)) - SELECTORS),
}
SET: Final = Body(
    "RuleSet", RuleSetBody, json_only=True, items=Body("ForcedErrorOfSet", ForcedErrorBody, agreements=AGREEMENTS)
)
