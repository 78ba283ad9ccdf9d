"""The operations that read history, and the orders about it."""

from control_api.history import lists, message, orders, stats
from control_api.http.operation import Group

OPERATIONS = Group(
    "History",
    "Lists, exports and histories of deliveries, and orders about history.",
    (*lists.OPERATIONS, message.HISTORY, stats.STATS, *orders.OPERATIONS),
)
