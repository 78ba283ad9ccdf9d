"""MTA-STS policies: where they are kept for all nodes, and how they are fetched."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from mta.policy.mta_sts import StsPolicy


class StsStore(Protocol):
    """The policies that were fetched, for all nodes. Raises StoreAway, StoreError."""

    async def all(self) -> Mapping[str, StsPolicy]:
        """By domain; also those that have expired."""
        ...

    async def get(self, domain: str) -> StsPolicy | None: ...

    async def put(self, domain: str, policy: StsPolicy) -> None: ...

    async def drop(self, domains: list[str]) -> None: ...


class Fetched(NamedTuple):
    """The text that a policy host gave, or why there is none."""

    text: str = ""
    failure: str = ""  # for people; "" = there is a text
    bad_certificate: bool = False


class StsFetcher(Protocol):
    """The policy hosts. Failures are values: nothing is raised."""

    async def fetch(self, domain: str) -> Fetched: ...

    async def close(self) -> None: ...
