"""The operations that show the accounts of mail."""

from control_api.books import events, tags
from control_api.http.operation import Group

OPERATIONS = Group("Books", "Statements by tag, events.", (*tags.OPERATIONS, events.STREAM))
