"""The description of forced errors and pauses (OpenAPI 3.1)."""

from typing import NamedTuple

from control_api.description import fields as fields
from control_api.description.fields import Schema, a_choice, a_flag, a_text, for_forms, optional, tag_list
from control_api.description.words import (
    BY_POOL,
    BY_RULES_DOMAIN,
    BY_STATE,
    BY_TAG,
    COUNT,
    CURSOR_OF_RULES,
    FLAG,
    ID,
    IF_MATCH,
    LIMIT,
    TEXT,
    TIME,
    TIME_OR_NULL,
    UNTIL,
    WAIT,
    a_body,
    a_list,
    a_query,
    an_answer,
    an_object,
    an_operation,
    answers,
    or_null,
    ref,
)
from control_api.rules.body import MAX_TEXT, NOUNS
from control_api.rules.resource import PATHS
from mta.model.rules import Kind


def _selector(pattern: str, description: str) -> Schema:
    return optional(a_text(f"{pattern}|{fields.ANYTHING}", description=description))


_SELECTORS: Schema = {
    "pool": _selector(fields.POOL, "IP pool, or @<ip>; not together with mta"),
    "mta": _selector(fields.ADDRESS, "sending IP address"),
    "domain": _selector(fields.DOMAIN_OR_BELOW, "target domain in A-labels, or *.domain for its subdomains"),
    "ip": _selector(fields.ADDRESS, "the peer's IP address; not together with domain or mx"),
    "mx": _selector(fields.DOMAIN_OR_BELOW, "the peer's host, or *.host; not together with domain or ip"),
    "tag": _selector(fields.LABEL, "1 to 128 bytes of UTF-8"),
    "tags_all": optional(tag_list(description="all of them must be there")),
    "except_tags": optional(tag_list(description="none of them may be there; alone it needs everything")),
    "cluster": optional(a_flag(description="default true; false binds the rule to this node")),
    "tenant": _selector(fields.LABEL, "the account that mail came in for, 1 to 128 bytes of UTF-8"),
    "everything": optional(a_flag(description="must be true where no selector is given")),
}
_ANSWER: Schema = {
    "extended": optional(a_text("[245]" + fields.ENHANCED_TAIL, description="its class is the code's")),
    "description": optional(a_text(fields.LINE, maxLength=MAX_TEXT, description="one printable line")),
    "at_the_door": optional(a_choice("accept", "reject", description="reject: refused at end of data")),
    "undo": optional(a_flag(description="default true: what it ends can be undone for a while")),
}
_SHARED: Schema = {
    "in_flight": optional(a_choice("abort", "finish", description="finish: what has begun may reach its dot")),
    "reason": optional(a_text(fields.LINE, maxLength=MAX_TEXT, description="for people; not sent")),
    "expires_at": optional(
        a_text(fields.MOMENT, description="when it stops matching: RFC 3339, to come, or +30m from now")
    ),
    "duration": optional(
        {
            "anyOf": [a_text(fields.DURATION), {"type": "integer", "minimum": 1, "maximum": 315_360_000}],
            "description": 'how long it matches, such as "30m", or seconds; instead of expires_at',
        }
    ),
}
_EXPIRE: Schema = {"expire": optional(a_text(fields.MOMENT, description="expires_at by another name"))}
_ENABLED: Schema = {"enabled": optional(a_flag(description="default true; false: it matches nothing"))}
_EDIT_ENABLED: Schema = {"enabled": a_flag(description="false: it matches nothing")}


def _code(first: str) -> Schema:
    """Codes that begin with one of these digits, as a number or as text."""
    low, high = int(first[0]) * 100, int(first[-1]) * 100 + 99
    return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, a_text(f"[{first}][0-9]{{2}}")]}


_CODE: Schema = {"anyOf": [*_code("2")["anyOf"], *_code("45")["anyOf"]]}
# The class of the enhanced code is that of the code, and nothing is refused with success.
_CLASSES: list[Schema] = [
    {"properties": {"code": _code(digit), "extended": optional(a_text(digit + fields.ENHANCED_TAIL))}} for digit in "45"
] + [
    {
        "properties": {
            "code": _code("2"),
            "extended": optional(a_text("2" + fields.ENHANCED_TAIL)),
            "at_the_door": optional(a_choice("accept")),
        }
    }
]

# A removal takes the other fields of a rule, whatever they are, so that an order can be sent as it was.
_WHATEVER: Schema = {"type": ["string", "number", "boolean", "null"]}
_IGNORED: Schema = dict.fromkeys(("code", *_ANSWER, *_SHARED, *_ENABLED), _WHATEVER)
_IGNORED_OF_PAUSES: Schema = dict.fromkeys((*_SHARED, *_ENABLED, *_EXPIRE), _WHATEVER)

_RULE: Schema = {
    "id": TEXT,
    "pool": TEXT,
    "mta": TEXT,
    "domain": TEXT,
    "ip": TEXT,
    "mx": TEXT,
    "tag": TEXT,
    "tags_all": a_list(TEXT),
    "except_tags": a_list(TEXT),
    "tenant": TEXT,
    "cluster": FLAG,
    "node": TEXT,
    "enabled": FLAG,
    "expires_at": TIME,
    "in_flight": TEXT,
    "reason": TEXT,
    "created_at": TIME,
    "created_by": TEXT,
    "generation": COUNT,
}
_FORCED_ERROR: Schema = {
    **_RULE,
    "code": {"type": "integer", "minimum": 200, "maximum": 599},
    "extended": TEXT,
    "description": TEXT,
    "at_the_door": TEXT,
    "undo": FLAG,
}
_ALWAYS = ["id", "cluster", "enabled", "in_flight", "generation"]
_USE: Schema = {"hits": COUNT, "last_hit_at": TIME_OR_NULL, "shadowed_by": or_null("string")}
_EFFECT: Schema = {
    "effective": FLAG,
    "effective_at": TIME,
    "effective_by": TIME,
    "past_dot": a_list(an_object({"id": TEXT, "recipient": TEXT, "dot_at": TIME_OR_NULL})),
    "quiet_at": TIME_OR_NULL,
    "workers": an_object({"confirmed": a_list(TEXT), "unconfirmed": a_list(TEXT)}),
}
_EFFECT_ALWAYS = ["effective", "past_dot", "quiet_at", "workers"]


def _bodies() -> Schema:
    """What is sent: as JSON, and as a form."""
    strict: Schema = {"additionalProperties": False}
    order: Schema = {**_SHARED, **_ENABLED, **_SELECTORS}
    of_error: Schema = {"code": _CODE, **_ANSWER}
    edit: Schema = {**of_error, **_SHARED, **_EDIT_ENABLED}
    bodies = {
        "NewForcedError": an_object({**of_error, **order}, ["code"], **strict, anyOf=_CLASSES),
        "NewPause": an_object({**_EXPIRE, **order}, [], **strict),
        "Edit": an_object(edit, [], **strict, minProperties=1, anyOf=_CLASSES),
        "PauseEdit": an_object({**_SHARED, **_EXPIRE, **_EDIT_ENABLED}, [], **strict, minProperties=1),
        "Conversion": an_object(edit, ["code"], **strict, anyOf=_CLASSES),
        "Selectors": an_object({**_IGNORED, **_SELECTORS}, [], **strict),
        "PauseSelectors": an_object({**_IGNORED_OF_PAUSES, **_SELECTORS}, [], **strict),
    }
    return bodies | {f"{name}Form": for_forms(body) for name, body in bodies.items()}


def schemas() -> Schema:
    """What bodies and answers of rules are made of."""
    listed, changed = [*_ALWAYS, *_USE], [*_ALWAYS, *_EFFECT_ALWAYS]
    effect: Schema = {**_EFFECT, "warnings": a_list(TEXT)}
    held: Schema = {"held": COUNT}
    until: Schema = {"statement_until": TIME}
    undone: Schema = {"id": TEXT, "reinstated": COUNT, "left": COUNT}
    return {
        **_bodies(),
        "ListedForcedError": an_object({**_FORCED_ERROR, **_USE}, [*listed, "code"]),
        "ForcedError": an_object({**_FORCED_ERROR, **_USE, **effect, "undo_until": TIME}, [*changed, "code"]),
        "RemovedForcedError": an_object(
            {**_FORCED_ERROR, **_USE, **effect, **until}, [*changed, "code", "statement_until"]
        ),
        "RemovedPause": an_object({**_RULE, **_USE, **held, **effect, **until}, [*changed, "statement_until"]),
        "ListedPause": an_object({**_RULE, **_USE, **held}, [*listed, "held"]),
        "Pause": an_object({**_RULE, **_USE, **held, **effect}, changed),
        "Undone": an_object({**undone, **_EFFECT}, [*undone]),
    }


class _Names(NamedTuple):
    """The schemas of one kind of rule."""

    new: str
    edit: str
    selectors: str
    listed: str
    whole: str


_NAMES = {
    Kind.ERROR: _Names("NewForcedError", "Edit", "Selectors", "ListedForcedError", "ForcedError"),
    Kind.PAUSE: _Names("NewPause", "PauseEdit", "PauseSelectors", "ListedPause", "Pause"),
}
_ETAG: Schema = {"ETag": {"description": "the generation, for If-Match", "schema": TEXT}}
_LATER = "stored; what is waited for has not happened yet"
_BODY = ("408", "413", "415")


def paths() -> Schema:
    """Every path of theirs."""
    return {**_of(Kind.ERROR), **_undo_path(), **_of(Kind.PAUSE), **_convert_path()}


def _of(kind: Kind) -> Schema:
    """The paths that both kinds have."""
    names, noun, path = _NAMES[kind], NOUNS[kind], PATHS[kind]
    rule = ref(names.whole)
    link = {"Link": {"description": 'rel="next", with limit', "schema": TEXT}}
    gone = ref("Removed" + names.whole)
    removed = {"_200": an_answer(gone, "removed"), "_202": an_answer(gone, "removed, not effective everywhere yet")}
    later = an_answer(rule, _LATER, _ETAG)
    return {
        path: {
            "get": an_operation(
                f"Every active {noun}",
                answers(_200=an_answer(a_list(ref(names.listed)), "oldest first", link)),
                [BY_TAG, BY_POOL, BY_RULES_DOMAIN, BY_STATE, LIMIT, CURSOR_OF_RULES],
            ),
            "post": an_operation(
                f"Order a {noun}, or replace the one with the same selectors",
                answers(
                    *_BODY,
                    _200=an_answer(rule, "replaced and effective", _ETAG),
                    _201=an_answer(rule, "created and effective", _ETAG),
                    _202=later,
                ),
                [WAIT, UNTIL],
                requestBody=a_body(names.new),
            ),
            "delete": an_operation(
                f"Lift the {noun} with exactly these selectors",
                answers("404", *_BODY, **removed),
                [WAIT, *_selectors_in_query()],
                requestBody=a_body(names.selectors) | {"required": False},
                description="Selectors stand in the query or in the body, not in both.",
            ),
        },
        path + "/{id}": {
            "parameters": [ID],
            "get": an_operation(f"One {noun}", answers("404", _200=an_answer(rule, "the rule and its effect", _ETAG))),
            "patch": an_operation(
                f"Edit, enable or disable one {noun}; null takes a field away",
                answers("404", *_BODY, "412", _200=an_answer(rule, "edited and effective", _ETAG), _202=later),
                [WAIT, UNTIL, IF_MATCH],
                requestBody=a_body(names.edit),
            ),
            "delete": an_operation(f"Lift one {noun}", answers("404", **removed), [WAIT]),
        },
        path + "/{id}/statement": {
            "parameters": [ID],
            "get": an_operation(
                "What became of the deliveries that the rule met",
                answers("404", _200=an_answer(ref("RuleStatement"), "the statement")),
            ),
        },
    }


def _selectors_in_query() -> list[Schema]:
    """The selectors as parameters; what may repeat is a list."""
    found = []
    for name, schema in for_forms(_SELECTORS).items():
        described = {key: value for key, value in schema.items() if key != "description"}
        found.append(a_query(name, schema["description"], described))
    return found


def _undo_path() -> Schema:
    undone = ref("Undone")
    return {
        PATHS[Kind.ERROR] + "/{id}/undo": {
            "parameters": [ID],
            "post": an_operation(
                "Disable one forced error and return what it ended, and is still kept, to its queues, each once",
                answers("404", _200=an_answer(undone, "done"), _202=an_answer(undone, "how far it is; it goes on")),
                [WAIT],
            ),
        }
    }


def _convert_path() -> Schema:
    rule = ref("ForcedError")
    return {
        PATHS[Kind.PAUSE] + "/{id}/convert": {
            "parameters": [ID],
            "post": an_operation(
                "Make a pause a forced error of the same id; nothing gets through between",
                answers(
                    "404",
                    "409",
                    *_BODY,
                    "412",
                    _200=an_answer(rule, "effective", _ETAG),
                    _202=an_answer(rule, _LATER, _ETAG),
                ),
                [WAIT, UNTIL, IF_MATCH],
                requestBody=a_body("Conversion"),
            ),
        }
    }
