"""Records in DNS, asked for anew each time: for those who look after them, not for delivery."""

from typing import NamedTuple, Protocol


class Found(NamedTuple):
    """The records of one kind at a name, as text. None where `failure` says why no server gave a usable answer."""

    records: tuple[str, ...] = ()
    failure: str = ""  # a person's words; "" = the answer is sure, also that there are none


class DnsRecords(Protocol):
    """Failures are values: nothing is raised."""

    async def texts(self, name: str) -> Found:
        """TXT records, each as one string."""
        ...

    async def addresses(self, name: str) -> Found:
        """IPv4 and IPv6."""
        ...

    async def hosts(self, domain: str) -> Found:
        """The hosts of its MX records, the best first."""
        ...

    async def names(self, address: str) -> Found:
        """PTR records."""
        ...
