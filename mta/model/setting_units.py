"""The units of settings: the form of a number in a settings file."""

import enum
from typing import Annotated


class Unit(enum.Enum):
    """The unit of a number, and so its form in a settings file."""

    DURATION = "duration"
    SIZE = "size"
    RATE = "rate"
    TEXT = "text or number"


Seconds = Annotated[float, Unit.DURATION]
Bytes = Annotated[int, Unit.SIZE]
PerSecond = Annotated[float, Unit.RATE]
