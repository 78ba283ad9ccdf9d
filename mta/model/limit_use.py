"""The use of the limits of one scope of a site, as processes count it in the store."""

from typing import NamedTuple


class LimitUse(NamedTuple):
    """Of all processes together; times are Unix ms, 0 = nothing is used."""

    connections: int = 0  # slots that processes hold
    next_message: int = 0  # the first instant for a message that is not given out
    next_connection: int = 0  # likewise for a new connection
