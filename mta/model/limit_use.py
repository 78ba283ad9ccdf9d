"""The use of the limits of a scope of a site, and the warm-up of an IP there, as processes count them in the store."""

from typing import NamedTuple


class LimitUse(NamedTuple):
    """Of all processes together; times are Unix ms, 0 = nothing is used."""

    connections: int = 0  # slots that processes hold
    next_message: int = 0  # the first instant for a message that is not given out
    next_connection: int = 0  # likewise for a new connection


class WarmUp(NamedTuple):
    """How far an IP has come with a site. Days are those of UTC."""

    day: int = 1  # of the schedule; it rises with the first day after one on which mail was sent
    date: int = 0  # days since 1970
    taken: int = 0  # messages of the date that processes have begun or may begin
    begun: int = 0  # those that they told to have begun

    def on(self, date: int) -> "WarmUp":
        """The same at the beginning of a later day."""
        return self if date <= self.date else WarmUp(self.day + (self.begun > 0), date)
