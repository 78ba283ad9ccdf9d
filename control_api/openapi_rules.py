"""The description of forced errors and pauses (OpenAPI 3.1)."""

from typing import NamedTuple

from control_api.openapi_words import (
    BY_DOMAIN,
    BY_POOL,
    BY_STATE,
    BY_TAG,
    COUNT,
    CURSOR,
    FLAG,
    ID,
    IF_MATCH,
    LIMIT,
    TEXT,
    TIME,
    TIME_OR_NULL,
    UNTIL,
    WAIT,
    Schema,
    a_body,
    a_list,
    an_answer,
    an_object,
    an_operation,
    answers,
    or_null,
    ref,
    tag_list,
)
from control_api.rule_body import MAX_TEXT, NOUNS
from control_api.rules_resource import PATHS
from mta.model.rules import Kind

_SELECTORS: Schema = {
    "pool": or_null("string", minLength=1, description="IP pool, or @<ip>; not together with mta"),
    "mta": or_null("string", minLength=1, description="sending IP address"),
    "domain": or_null("string", minLength=1, description="target domain, or *.domain for its subdomains"),
    "ip": or_null("string", minLength=1, description="the peer's IP address; not together with domain or mx"),
    "mx": or_null("string", minLength=1, description="the peer's host, or *.host; not together with domain or ip"),
    "tag": or_null("string", minLength=1, maxLength=128, description="1 to 128 bytes of UTF-8"),
    "tags_all": tag_list("all of them must be there"),
    "except_tags": tag_list("none of them may be there; alone it needs everything"),
    "cluster": or_null("boolean", "string", description="default true; false binds the rule to this node"),
    "tenant": or_null("string", minLength=1, maxLength=128, description="the account that mail came in for"),
    "everything": or_null("boolean", "string", description="must be true where no selector is given"),
}
_ANSWER: Schema = {
    "extended": or_null("string", pattern=r"^[245]\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$"),
    "description": or_null("string", maxLength=MAX_TEXT, description="one printable line"),
    "at_the_door": or_null("string", description="accept (default), or reject: refused at end of data"),
    "undo": or_null("boolean", "string", description="default true: what it ends can be undone for a while"),
}
_SHARED: Schema = {
    "in_flight": or_null("string", description="abort (default), or finish: what has begun may reach its dot"),
    "reason": or_null("string", maxLength=MAX_TEXT, description="for people; not sent"),
    "expires_at": or_null("string", description="when it stops matching: RFC 3339, or +30m from now"),
    "duration": or_null("string", "number", description='how long it matches, such as "30m"; instead of expires_at'),
}
_EXPIRE: Schema = {"expire": or_null("string", description="expires_at by another name")}
_ENABLED: Schema = {"enabled": or_null("boolean", "string", description="default true; false: it matches nothing")}
_EDIT_ENABLED: Schema = {"enabled": {"type": ["boolean", "string"], "description": "false: it matches nothing"}}
_CODE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 200, "maximum": 599}, {"type": "string", "pattern": "^[245]\\d\\d$"}]
}

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


def schemas() -> Schema:
    """What bodies and answers of rules are made of."""
    listed, changed = [*_ALWAYS, *_USE], [*_ALWAYS, *_EFFECT_ALWAYS]
    effect: Schema = {**_EFFECT, "warnings": a_list(TEXT)}
    held: Schema = {"held": COUNT}
    until: Schema = {"statement_until": TIME}
    undone: Schema = {"id": TEXT, "reinstated": COUNT, "left": COUNT}
    strict: Schema = {"additionalProperties": False}
    order: Schema = {**_SHARED, **_ENABLED, **_SELECTORS}
    return {
        "NewForcedError": an_object({"code": _CODE, **_ANSWER, **order}, ["code"], **strict),
        "NewPause": an_object({**_EXPIRE, **order}, [], **strict),
        "Edit": an_object({"code": _CODE, **_ANSWER, **_SHARED, **_EDIT_ENABLED}, [], **strict, minProperties=1),
        "PauseEdit": an_object({**_SHARED, **_EXPIRE, **_EDIT_ENABLED}, [], **strict, minProperties=1),
        "Conversion": an_object({"code": _CODE, **_ANSWER, **_SHARED, **_EDIT_ENABLED}, ["code"], **strict),
        "Selectors": an_object({"code": {}, **_ANSWER, **order}, [], **strict),
        "PauseSelectors": an_object({**_EXPIRE, **order}, [], **strict),
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
                [BY_TAG, BY_POOL, BY_DOMAIN, BY_STATE, LIMIT, CURSOR],
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
                [WAIT],
                requestBody=a_body(names.selectors),
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
