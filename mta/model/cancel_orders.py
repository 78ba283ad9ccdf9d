"""Cancellations as the processes that deliver hear of them: a message or one delivery, and the author of the order."""

from collections.abc import Mapping

from mta.model.ids import DeliveryId, message_of

CancelOrders = Mapping[bytes, str]  # id of a message or of a delivery -> the author of the order


def canceled_by(orders: CancelOrders, delivery: DeliveryId) -> str | None:
    """The author of the order that cancels this delivery, alone or with its message; None: there is none."""
    author = orders.get(delivery)
    return orders.get(message_of(delivery)) if author is None else author
