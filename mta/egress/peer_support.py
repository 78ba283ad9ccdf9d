"""Whether a message can go to a peer as it is: addresses, 8-bit content, size."""

from mta.content.seven_bit import seven_bit_message
from mta.egress.dial import ReadyConnection
from mta.egress.transaction import Transaction
from mta.model.mail import Record
from mta.policy.failures import Trouble, unsendable

NOT_PLAIN = unsendable(
    553, "5.6.7", "the address has characters beyond ASCII or control characters: it cannot be sent without SMTPUTF8"
)


def is_plain(record: Record) -> bool:
    """Whether both addresses may stand in a command: printable ASCII (the sender may be empty)."""
    addresses = record.sender + record.recipient
    return addresses.isascii() and addresses.isprintable()


def _converted(transaction: Transaction) -> bool:
    """Whether the content is 7-bit now."""
    content = transaction.content
    assert content is not None
    if content.isascii():
        return True  # it was converted for a host before
    made = seven_bit_message(content)
    if made is None:
        return False
    transaction.content = made
    return True


def unsupported_by(peer: ReadyConnection, transaction: Transaction) -> Trouble | None:
    """The trouble if the peer cannot take this message; None: it can, as far as is known before the content was
    fetched. Content that the peer takes in 7-bit form only is converted here."""
    record, extensions = transaction.claims[0].record, peer.extensions
    size = record.size
    if record.needs_8bit and not extensions.eight_bit and transaction.content is not None:
        if not _converted(transaction):
            words = "the message has 8-bit content that cannot be converted, and the server does not offer 8BITMIME"
            return unsendable(550, "5.6.3", words, peer.host, peer.ip)
        size = len(transaction.content)
    limit = extensions.size
    if limit and size > limit:
        words = f"the message has {size} bytes, the server takes {limit}"
        return unsendable(552, "5.3.4", words, peer.host, peer.ip)
    return None
