"""A content that is put into the store before its message is accepted."""

import msgspec


class PlacedContent(msgspec.Struct, frozen=True, gc=False):
    """A content on its way into the store, as the accept step takes it along."""

    value: bytes  # the lane keeps it beside the message id
    pending: tuple[bytes, ...] = ()  # keys written before, which expire unless the step makes them stay
    store: str = ""  # for the record: "" = the lane itself
    key: str = ""
