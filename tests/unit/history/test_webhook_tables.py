"""The state of webhook endpoints in a file; the tests' own memory keeps to the same stories."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mta.history.webhook_tables import sqlite_state
from mta.model.errors import HistoryAway
from mta.ports.webhooks import WebhookState
from tests.support import webhook_state_contract as contract
from tests.support.webhooks import MemoryState


@pytest.fixture(params=["file", "memory"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebhookState]:
    made: WebhookState = sqlite_state(str(tmp_path / "webhooks")) if request.param == "file" else MemoryState()
    made.open()
    yield made
    made.close()


@pytest.mark.parametrize("story", contract.STORIES, ids=lambda story: story.__name__)
def test_a_story_of_every_state(story: Callable[[WebhookState], None], state: WebhookState) -> None:
    story(state)


def test_a_file_outlives_its_process(tmp_path: Path) -> None:
    folder = str(tmp_path / "webhooks")
    first = sqlite_state(folder)
    first.open()
    first.take("w1")
    first.close()
    second = sqlite_state(folder)
    second.open()
    assert second.known() == ["w1"]
    assert (tmp_path / "webhooks").stat().st_mode & 0o077 == 0
    second.close()


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    state = sqlite_state(str(tmp_path / "webhooks"))
    (tmp_path / "webhooks" / "state.db").write_bytes(b"no database" * 100)
    with pytest.raises(HistoryAway, match=r"webhooks/state\.db"):
        state.open()
