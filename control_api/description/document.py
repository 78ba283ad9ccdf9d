"""The description of the API that `/openapi.json` gives (OpenAPI 3.1): what exists, and nothing that is to come."""

import functools
import importlib.metadata

import msgspec
from aiohttp import web

from control_api.description import messages as openapi_messages
from control_api.description import operations as openapi_operations
from control_api.description import rules as openapi_rules
from control_api.description.fields import DURATION, LABEL, Schema, a_text
from control_api.description.words import (
    BY_DOMAIN,
    BY_POOL,
    BY_TAG,
    COUNT,
    CURSOR_OF_QUEUES,
    FLAG,
    LIMIT,
    TAG,
    TEXT,
    TIME,
    TIME_OR_NULL,
    a_list,
    a_query,
    an_answer,
    an_object,
    an_operation,
    answers,
    open_answers,
    or_null,
    ref,
)
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.node import metrics
from mta.model.events import EventType
from mta.model.statements import RuleStatement, TagStatement


def _schemas() -> Schema:
    _, statements = msgspec.json.schema_components(
        (TagStatement, RuleStatement), ref_template="#/components/schemas/{name}"
    )
    why = an_object({"reason": TEXT, "count": COUNT, "rule": TEXT, "text": TEXT}, ["reason", "count", "text"])
    queue = {
        "pool": TEXT,
        "domain": TEXT,
        "due": COUNT,
        "scheduled": COUNT,
        "claimed": COUNT,
        "held": COUNT,
        "oldest": or_null("number") | {"minimum": 0, "description": "seconds since its oldest mail was accepted"},
        "next_due": TIME_OR_NULL,
        "why": a_list(why),
    }
    worker = {
        "name": TEXT,
        "node": TEXT,
        "pid": COUNT,
        "session": TEXT,
        "roles": a_list(TEXT),
        "generation": COUNT,
        "lag": COUNT,
        "confirmed_at": TIME_OR_NULL,
        "seconds_since_confirm": or_null("number", minimum=0),
        "dead": FLAG,
        "library": TEXT,
        "rule_format": COUNT,
        "unreadable": or_null("string"),
    }
    error = {"type": TEXT, "message": TEXT, "field": or_null("string"), "request_id": TEXT}
    return {
        "Error": an_object({"error": an_object(error)}),
        **openapi_rules.schemas(),
        **openapi_messages.schemas(),
        "Queues": an_object(
            {
                "as_of": TIME,
                "queues": a_list(an_object(queue)),
                "cursor": or_null("string"),
            }
        ),
        "Workers": an_object({"generation": COUNT, "workers": a_list(an_object(worker))}),
        "Emptied": an_object({"emptied_at": TIME_OR_NULL}),
        "Health": an_object({"status": TEXT, "reason": TEXT, "warnings": a_list(TEXT)}, ["status"]),
        **statements,
    }


def _other_paths() -> Schema:
    statement = an_answer(ref("TagStatement"), "the statement; zeros where the tag was never seen")
    event_types = {"type": "array", "items": {"type": "string", "enum": [str(kind) for kind in EventType]}}
    stream = {"description": "server-sent events", "content": {"text/event-stream": {"schema": TEXT}}}
    return {
        "/v1/tags": {
            "get": an_operation(
                "The statement of a tag",
                answers(_200=statement),
                [a_query("tag", "the tag", a_text(LABEL)) | {"required": True}],
            )
        },
        "/v1/tags/{tag}": {
            "parameters": [TAG],
            "get": an_operation("The statement of a tag", answers("404", _200=statement)),
        },
        "/v1/queues": {
            "get": an_operation(
                "The queues with their counts",
                answers(_200=an_answer(ref("Queues"), "by pool and domain")),
                [BY_POOL, BY_DOMAIN, LIMIT, CURSOR_OF_QUEUES],
            )
        },
        "/v1/workers": {
            "get": an_operation(
                "The processes that match rules", answers(_200=an_answer(ref("Workers"), "by node and pid"))
            )
        },
        "/v1/events": {
            "get": an_operation(
                "Live events",
                answers(_200=stream),
                [
                    BY_TAG,
                    BY_POOL,
                    BY_DOMAIN,
                    {"name": "type", "in": "query", "schema": event_types},
                    LIMIT,
                    a_query("for", 'how long, such as "10s"; default: until the watcher goes', a_text(DURATION)),
                    {"name": "Last-Event-ID", "in": "header", "schema": TEXT},
                ],
            )
        },
        **_of_the_node(),
    }


def _of_the_node() -> Schema:
    healthy = an_answer(ref("Health"), "yes")
    return {
        metrics.PATH: {
            "get": an_operation(
                "Metrics of the cluster, in Prometheus's text format",
                answers("403", _200={"description": "metrics", "content": {"text/plain": {"schema": TEXT}}}),
                description="Without a token where the API listens on loopback and api.metrics_open is set.",
                security=[{}, {"token": []}],
            )
        },
        "/healthz": {"get": an_operation("Whether the API answers", open_answers(_200=healthy), security=[])},
        "/readyz": {
            "get": an_operation(
                "Whether this node can do its work",
                open_answers(_200=healthy, _503=an_answer(ref("Health"), "no, and why")),
                security=[],
            )
        },
    }


def _store_paths() -> Schema:
    known = an_answer(ref("Emptied"), "when that was; null where there is nothing to acknowledge")
    words = "Until then /readyz answers 503 and says so."
    operation = an_operation("Acknowledge that the store was found emptied", answers(_200=known), description=words)
    return {"/v1/store/acknowledge": {"post": operation}}


@functools.cache
def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Floodgate",
            "version": _version(),
            "description": "Control after acceptance.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The node that gave this description."}],
        "tags": openapi_operations.TAGS,
        "security": [{"token": []}],
        "paths": openapi_operations.named(
            {**openapi_rules.paths(), **openapi_messages.paths(), **_other_paths(), **_store_paths()}
        ),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return importlib.metadata.version("floodgate-mta")
    except importlib.metadata.PackageNotFoundError:
        return "0"


async def show(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    read_query(request)
    return json_response(document())
