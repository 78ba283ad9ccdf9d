"""Addresses that could not be connected to lately, so that they are not tried again for each message."""

from mta.egress.targets import Target
from mta.policy.failures import Trouble


class DeadHosts:
    """By IP address and port: until when it is left alone, and why. Times are loop times in seconds."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, Trouble]] = {}

    def add(self, target: Target, trouble: Trouble, until: float) -> None:
        """The address is left alone `until` that time."""
        self._known[target.ip, target.port] = until, trouble

    def trouble_of(self, target: Target, now: float) -> Trouble | None:
        """The failure for which the address is not tried now; None: it may be tried. The failure may have come under
        another host name."""
        known = self._known.get((target.ip, target.port))
        return known[1]._replace(host=target.host) if known is not None and known[0] > now else None

    def forget_expired(self, now: float) -> None:
        """Forget the addresses that may be tried again."""
        for address in [address for address, (until, _) in self._known.items() if until <= now]:
            del self._known[address]
