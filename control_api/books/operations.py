"""The operations that show the accounts of mail."""

from control_api.books import events, queues, tags
from control_api.http.operation import Group

OPERATIONS = Group("Books", "Statements by tag, queues, events.", (*tags.OPERATIONS, queues.LIST, events.STREAM))
