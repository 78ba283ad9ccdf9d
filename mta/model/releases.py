"""A staged release: a pause lets a number of the deliveries that it holds go, or some at a rate, and keeps the rest."""

import enum

import msgspec


class ReleaseState(enum.StrEnum):
    """The life of a staged release; the other states end it."""

    RUNNING = "running"
    DONE = "done"  # it has let go as many as it was ordered to, or the pause held no more
    STOPPED = "stopped"  # by an order
    OVER = "over"  # the pause was lifted, disabled, converted or has expired


class StagedRelease(msgspec.Struct, frozen=True):
    """The last staged release of a pause, as the store keeps it for every process; times are Unix milliseconds.

    It goes in rounds. A round gives each lane a share of what may go, which no step exceeds; it is closed in every lane
    before the next begins. So whoever carries it on, also several processes at once, lets none too many go.
    """

    id: str  # "<Unix ms, 13 digits>-<random>": the ids of a pause's orders rise
    pause: str
    started_at: int
    by: str  # its author
    count: int = 0  # deliveries that may go; 0 = it has a rate
    rate: float = 0.0  # deliveries a second; 0 = it has a count
    state: ReleaseState = ReleaseState.RUNNING
    round: int = 0  # the round under way, 0 = none yet
    shares: tuple[int, ...] = ()  # of the round, by lane
    released: int = 0  # by closed rounds
    ended_at: int = 0

    @property
    def round_id(self) -> str:
        """Compares as text: a later round of the pause is greater."""
        return f"{self.id}.{self.round:010d}"
