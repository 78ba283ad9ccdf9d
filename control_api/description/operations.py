"""The operations of the API by name and group, as generators of clients use them."""

from control_api.description.fields import Schema

_RULES, _PAUSES, _MESSAGES, _BOOKS, _NODE = "Forced errors", "Pauses", "Messages", "Books", "Node"

TAGS = [
    {"name": _RULES, "description": "Rules that end or defer mail after its acceptance, and their accounts."},
    {"name": _PAUSES, "description": "Rules that hold mail."},
    {"name": _MESSAGES, "description": "Single messages."},
    {"name": _BOOKS, "description": "Statements by tag, queues, events."},
    {"name": _NODE, "description": "Processes, health and metrics."},
]

_NAMES = {
    ("get", "/v1/errors"): ("listForcedErrors", _RULES),
    ("post", "/v1/errors"): ("orderForcedError", _RULES),
    ("delete", "/v1/errors"): ("liftForcedErrorBySelectors", _RULES),
    ("get", "/v1/errors/{id}"): ("showForcedError", _RULES),
    ("patch", "/v1/errors/{id}"): ("editForcedError", _RULES),
    ("delete", "/v1/errors/{id}"): ("liftForcedError", _RULES),
    ("get", "/v1/errors/{id}/statement"): ("forcedErrorStatement", _RULES),
    ("post", "/v1/errors/{id}/undo"): ("undoForcedError", _RULES),
    ("get", "/v1/pauses"): ("listPauses", _PAUSES),
    ("post", "/v1/pauses"): ("orderPause", _PAUSES),
    ("delete", "/v1/pauses"): ("liftPauseBySelectors", _PAUSES),
    ("get", "/v1/pauses/{id}"): ("showPause", _PAUSES),
    ("patch", "/v1/pauses/{id}"): ("editPause", _PAUSES),
    ("delete", "/v1/pauses/{id}"): ("liftPause", _PAUSES),
    ("get", "/v1/pauses/{id}/statement"): ("pauseStatement", _PAUSES),
    ("post", "/v1/pauses/{id}/convert"): ("convertPause", _PAUSES),
    ("get", "/v1/messages/{id}"): ("showMessage", _MESSAGES),
    ("post", "/v1/messages/{id}/cancel"): ("cancelMessage", _MESSAGES),
    ("get", "/v1/tags"): ("findTagStatement", _BOOKS),
    ("get", "/v1/tags/{tag}"): ("tagStatement", _BOOKS),
    ("get", "/v1/queues"): ("listQueues", _BOOKS),
    ("get", "/v1/events"): ("streamEvents", _BOOKS),
    ("get", "/v1/workers"): ("listWorkers", _NODE),
    ("get", "/metrics"): ("metrics", _NODE),
    ("get", "/healthz"): ("healthz", _NODE),
    ("get", "/readyz"): ("readyz", _NODE),
    ("post", "/v1/store/acknowledge"): ("acknowledgeEmptiedStore", _NODE),
}


def named(paths: Schema) -> Schema:
    """The paths, each operation with its name and group. Raises KeyError for one that has no name."""
    found: Schema = {}
    for path, item in paths.items():
        found[path] = dict(item)
        for method, operation in item.items():
            if method != "parameters":
                name, group = _NAMES[method, path]
                found[path][method] = {"operationId": name, "tags": [group], **operation}
    return found
