"""The counts of TLS results by day."""

from collections.abc import Mapping
from typing import Final

from mta.policy.tls_results import TlsResult
from mta.ports.tls_results import TlsDay
from mta.redis_store import keys
from mta.redis_store.link import Link

_KEPT: Final = 30 * 86_400  # seconds
_MOST_KINDS: Final = 200_000  # of one day; others count for the domain "*"
_MOST_DAYS: Final = 31
_AT_ONCE: Final = 500


class StoredTlsResults:
    """Fulfils ports.tls_results.TlsResults."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, day: int, counts: Mapping[TlsResult, int]) -> None:
        key = keys.tls_key(day)
        is_full = await self._link.command("HLEN", key) >= _MOST_KINDS
        items = [(_field(one._replace(domain="*", mx="") if is_full else one), many) for one, many in counts.items()]
        for at in range(0, len(items), _AT_ONCE):
            args: list[bytes | str | int] = [_KEPT]
            for field, many in items[at : at + _AT_ONCE]:
                args += (field, many)
            await self._link.call(b"tls_count", [key], args)

    async def days(self, first: int, last: int) -> list[TlsDay]:
        found = []
        for day in range(max(first, last - _MOST_DAYS), last + 1):
            answer = await self._link.command("HGETALL", keys.tls_key(day))
            pairs = zip(answer[::2], answer[1::2], strict=True)
            sessions = {TlsResult(*field.decode().split("|")): int(many) for field, many in pairs}
            if sessions:
                found.append(TlsDay(day, sessions))
        return found


def _field(result: TlsResult) -> str:
    return "|".join(part.replace("|", "") for part in result)
