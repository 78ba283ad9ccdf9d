"""The ports of the senders of a process, and what they tell it."""

import random
import time
from collections.abc import Callable

from mta.ports.history import History
from mta.ports.secrets import Sealer
from mta.ports.webhooks import Poster
from mta.timing.clock import wall_ms


class Parts:
    """The ports of a sender."""

    __slots__ = ("chance", "clock", "history", "on_disable", "on_room", "poster", "sealer", "wall")

    def __init__(
        self,
        history: History,
        poster: Poster,
        sealer: Sealer,
        on_disable: Callable[[str, str], None],
        on_room: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_ms,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`on_disable` is called with the id of an endpoint that is given up, and the reason; `on_room` where a
        stream that is behind takes more events."""
        self.history = history
        self.poster = poster
        self.sealer = sealer
        self.on_disable = on_disable
        self.on_room = on_room
        self.clock = clock
        self.wall = wall
        self.chance = chance
