"""Requests without a valid token from a new address of this machine each time."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

_FIRST = 2  # 127.0.0.2, 127.0.0.3, …


class _From(HTTPAdapter):
    """Connections from one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **more)


@contextmanager
def from_many_addresses(token: str) -> Iterator[None]:
    """Patches `requests`: the API counts requests without a valid token by address, and refuses the 21st of a minute
    with 429, however it asks."""
    valid, numbers, send = f"Bearer {token}", itertools.count(_FIRST), requests.Session.send

    def sent(session: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        if request.headers.get("Authorization") == valid:
            return send(session, request, **more)
        number = next(numbers)
        session.mount("http://", adapter := _From(f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"))
        try:
            return send(session, request, **more)
        finally:
            adapter.close()
            session.mount("http://", HTTPAdapter())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(requests.Session, "send", sent)
        yield
