"""A store that is away is waited for as long as it may, and no longer."""

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from mta.model.errors import (
    SettingsError,
    StoreAway,
    StoreDenied,
    StoreError,
    StoreForeign,
    StoreLoading,
    StoreUnsafe,
)
from mta.model.settings import NodeSettings, RedisSettings, Settings
from mta.redis_store.link import Link
from mta.runtime.wiring import opening
from mta.runtime.wiring.opening import open_link, read_password

URL = "redis://u:secret@127.0.0.1:1"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The errors of the tries to reach the store, in order."""
    errors: list[Exception] = []

    async def open_(link: Link) -> None:
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr(Link, "open", open_)
    monkeypatch.setattr(opening, "_ASK_AGAIN", 0.0)
    return errors


def settings(**redis: str) -> Settings:
    return Settings(node=NodeSettings(name="n"), redis=RedisSettings(url=URL, **redis))  # type: ignore[arg-type]


async def link(limit: float, **redis: str) -> None:
    made = await open_link(settings(**redis), URL, asyncio.Event(), limit=limit)
    await made.close()


async def test_beyond_the_limit_it_ends_with_the_seconds_and_without_the_password(opened: list[Exception]) -> None:
    opened += [StoreAway("Connection refused")] * 1000
    with pytest.raises(StoreAway, match=r"^redis.url: waited 0 s for the store at 127.0.0.1:1: Connection refused; "):
        await link(0.001)


async def test_a_server_that_reads_its_data_is_waited_for_without_a_limit(opened: list[Exception]) -> None:
    opened += [StoreLoading("loading")] * 50
    await link(0.0)
    assert not opened


async def test_a_refused_password_ends_it_at_once(opened: list[Exception]) -> None:
    opened += [StoreDenied("WRONGPASS")] * 50
    with pytest.raises(StoreDenied, match=r"^redis.password_file: .* refuses the password in redis.url; put the right"):
        await link(60.0)
    assert len(opened) == 49


async def test_a_process_of_a_running_node_waits_on(opened: list[Exception]) -> None:
    opened += [StoreDenied("WRONGPASS"), StoreAway("gone")] * 20
    await link(float("inf"))
    assert not opened


async def test_lines_say_the_seconds_and_come_ever_more_rarely(
    opened: list[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(opening, "time", SimpleNamespace(monotonic=clock))
    opened += [StoreAway("gone")] * 45
    with contextlib.suppress(StoreAway):
        await link(44.5)
    lines = [record.message.partition(" for")[0] for record in caplog.records if "for the store" in record.message]
    assert lines == ["waited 1 s", "waited 5 s", "waited 10 s", "waited 20 s", "waited 40 s"]


async def test_r5_a_process_of_a_running_node_waits_without_a_word_and_tells_its_clients_why(
    opened: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    opened += [StoreAway("gone"), StoreUnsafe("appendonly is no"), StoreForeign("220 ready"), StoreDenied("WRONGPASS")]
    told, waits = list(opened), []
    made = await open_link(settings(), URL, asyncio.Event(), waits=waits.append)
    await made.close()
    assert waits == told
    assert not caplog.records


async def test_r3_what_answers_and_is_no_redis_ends_the_start_naming_the_url(opened: list[Exception]) -> None:
    opened += [StoreForeign('Protocol error, got "2" as reply type byte')] * 2
    words = r"^redis.url: the server at 127.0.0.1:1 does not speak the Redis protocol; correct the URL$"
    with pytest.raises(StoreForeign, match=words):
        await link(60.0)
    opened[:] = [StoreError("unknown command 'FUNCTION'")]
    with pytest.raises(StoreError, match=r"^redis.url: the server at 127.0.0.1:1 cannot be used: unknown command"):
        await link(60.0)


async def test_an_unsafe_store_ends_the_start_at_once(opened: list[Exception]) -> None:
    opened += [StoreUnsafe("appendonly is no")] * 2
    with pytest.raises(StoreUnsafe, match=r"^appendonly is no$"):
        await link(60.0)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\nsecret\n", "is empty"), (b"\xff\xfe", "is not UTF-8"), (None, "No such file")],
)
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=message) as caught:
        read_password(RedisSettings(password_file=str(file)))
    assert str(caught.value).startswith("redis.password_file: ")
    assert "secret" not in str(caught.value)
