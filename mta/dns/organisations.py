"""Organisational domains by the list of public suffixes that comes with the library; no network."""

import functools
from typing import Any


@functools.cache
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList  # 40 ms, and only a process that needs it loads it

    return PublicSuffixList(only_icann=True)


@functools.lru_cache(maxsize=16_384)
def organisational_domain(host: str) -> str:
    """The public suffix of the name and one label more; "" where there is none."""
    return _suffixes().privatesuffix(host.lower().rstrip(".")) or ""
