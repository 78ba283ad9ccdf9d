"""The operations that read history."""

from control_api.history import lists, message, stats
from control_api.http.operation import Group

OPERATIONS = Group(
    "History", "Lists, exports and histories of deliveries.", (*lists.OPERATIONS, message.HISTORY, stats.STATS)
)
