"""Whether a message can go to a peer as it is: addresses, 8-bit content, size."""

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


def unsupported_by(peer: ReadyConnection, transaction: Transaction) -> Trouble | None:
    """The trouble if the peer cannot take this message; None: it can."""
    record, extensions = transaction.claims[0].record, peer.extensions
    if record.needs_8bit and not extensions.eight_bit:
        words = "the message has 8-bit content and the server does not offer 8BITMIME"
        return unsendable(550, "5.6.3", words, peer.host, peer.ip)
    limit = extensions.size
    if limit and record.size > limit:
        words = f"the message has {record.size} bytes, the server takes {limit}"
        return unsendable(552, "5.3.4", words, peer.host, peer.ip)
    return None
