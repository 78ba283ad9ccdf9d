"""The scopes of API tokens: each operation of the API needs one of them."""

import enum


class Scope(enum.StrEnum):
    """A right of a token. `ADMIN` includes all others."""

    ERRORS_READ = "errors:read"  # forced errors, pauses and brakes
    ERRORS_WRITE = "errors:write"
    MESSAGES_READ = "messages:read"  # records, statements by tag, events; no content
    MESSAGES_CONTENT = "messages:content"
    MESSAGES_SEND = "messages:send"
    MESSAGES_CANCEL = "messages:cancel"
    QUEUES_READ = "queues:read"
    QUEUES_WRITE = "queues:write"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    SUPPRESSIONS_READ = "suppressions:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"


EVERY_SCOPE = frozenset({Scope.ADMIN})
