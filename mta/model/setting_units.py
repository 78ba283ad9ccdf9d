"""The units of settings: the form of a number or an address in a settings file."""

import enum
import ipaddress
from typing import Annotated, NamedTuple


class Unit(enum.Enum):
    """The unit of a number, and so its form in a settings file."""

    DURATION = "duration"
    SIZE = "size"
    RATE = "rate"
    TEXT = "text or number"


Seconds = Annotated[float, Unit.DURATION]
Bytes = Annotated[int, Unit.SIZE]
PerSecond = Annotated[float, Unit.RATE]


class Address(NamedTuple):
    """A listening or target address; port 0 = any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
