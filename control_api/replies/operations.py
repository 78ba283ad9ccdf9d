"""The operations on reply entries."""

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, a_parameter
from control_api.replies import resource
from control_api.schemas import reply_shapes as shapes
from mta.model.scopes import Scope

_NAME = a_parameter("name", shapes.ENTRY_NAME)
_PATH = "/v1/replies/{name}"
_ENTRY = {"pattern": "mailbox is on leave", "category": "inactive_mailbox", "fault": "recipient", "reaction": "retry"}

OPERATIONS = Group(
    "Replies",
    "Knowledge about replies of destinations. A change is in force on every node within two seconds.",
    (
        Operation(
            "GET",
            "/v1/replies",
            resource.list_entries,
            "listReplyEntries",
            "The reply entries",
            (Answer(200, shapes.Entries, "in the order in which a reply meets them"),),
            Example("/v1/replies?category=greylisted"),
            scope=Scope.ADMIN,
            query=shapes.EntriesQuery,
        ),
        Operation(
            "GET",
            "/v1/replies/unknown",
            resource.list_unknown,
            "listUnknownReplies",
            "The replies that no entry knows, by provider and text",
            (Answer(200, shapes.UnknownReplies, "the most frequent first"),),
            Example("/v1/replies/unknown"),
            scope=Scope.ADMIN,
            query=shapes.UnknownQuery,
        ),
        Operation(
            "PUT",
            _PATH,
            resource.put_entry,
            "putReplyEntry",
            "Make a reply entry, or replace one",
            (Answer(200, shapes.Entry, "replaced"), Answer(201, shapes.Entry, "made")),
            Example("/v1/replies/on-leave", _ENTRY, 201),
            scope=Scope.ADMIN,
            refusals=BODY_REFUSALS,
            path_values=(_NAME,),
            body=shapes.ENTRY,
        ),
        Operation(
            "DELETE",
            _PATH,
            resource.delete_entry,
            "removeReplyEntry",
            "Remove a reply entry of the cluster",
            (Answer(200, shapes.Entry, "the entry as it was"),),
            Example("/v1/replies/on-leave"),
            scope=Scope.ADMIN,
            refusals=(404,),
            path_values=(_NAME,),
        ),
    ),
)
