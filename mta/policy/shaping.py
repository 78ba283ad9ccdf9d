"""The limits of a destination: connections, rates, messages for each connection, and the retry schedule."""

from collections.abc import Sequence
from typing import NamedTuple

from mta.model.mail import QueueKey
from mta.model.settings import DomainSettings, Settings

_LONGEST_BACK_OFF = 5.0  # seconds


class Plan(NamedTuple):
    """The limits for one queue; 0 = no limit. Connections and rates hold over all processes together."""

    connections: int
    connections_per_minute: float
    messages_per_connection: int
    messages_per_minute: float
    retries: Sequence[float]  # seconds between attempts, the last repeats; () = one attempt only
    max_attempts: int
    back_off: float  # seconds for which a failure to connect is remembered: less than the first retry waits

    @property
    def limits_connections(self) -> bool:
        return bool(self.connections or self.connections_per_minute)

    @property
    def is_limited(self) -> bool:
        """Whether a limit is shared by all processes."""
        return bool(self.limits_connections or self.messages_per_minute)


class Shaping:
    """The plan of each queue. Today a plan depends on the domain alone, by its exact name."""

    def __init__(self, settings: Settings) -> None:
        self._default = _plan(settings, DomainSettings())
        self._plans = {domain: _plan(settings, limits) for domain, limits in settings.domains.items()}

    def plan(self, queue: QueueKey) -> Plan:
        return self._plans.get(queue.domain, self._default)


def _plan(settings: Settings, limits: DomainSettings) -> Plan:
    retries = settings.delivery.retries
    return Plan(
        limits.connections,
        limits.connections_per_minute,
        limits.messages_per_connection,
        limits.messages_per_minute,
        retries,
        settings.delivery.max_attempts,
        min(_LONGEST_BACK_OFF, retries[0] / 2) if retries else _LONGEST_BACK_OFF,
    )
