"""The program's commands against the API over the ports in memory."""

from collections.abc import Iterator

import pytest

from tests.support.commands import Floodgate, call
from tests.support.control_api import TOKEN, Cluster
from tests.support.served_api import served


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    with served(cluster) as address:
        yield address


@pytest.fixture
def floodgate(url: str, monkeypatch: pytest.MonkeyPatch) -> Floodgate:
    monkeypatch.setenv("FLOODGATE_URL", url)
    monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
    return call
