"""The operations on queues, on the mail in them, and on parked mail."""

from control_api.http.operation import Group
from control_api.queues import explain, listing, parked, waiting, work

OPERATIONS = Group(
    "Queues",
    "Queues, the mail that waits in them and why, and parked mail.",
    (listing.LIST, waiting.LIST, *work.OPERATIONS, *parked.OPERATIONS, *explain.OPERATIONS),
)
