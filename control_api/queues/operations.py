"""The operations on queues and on the mail in them."""

from control_api.http.operation import Group
from control_api.queues import listing, waiting, work

OPERATIONS = Group("Queues", "Queues, and the mail that waits in them.", (listing.LIST, waiting.LIST, *work.OPERATIONS))
