import pytest

from mta.model.secret_urls import has_password, hide_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1/0", "redis://u:***@h:1/0"),
        ("rediss://:secret@h", "rediss://:***@h"),
        ("redis+cluster://:secret@h:7000", "redis+cluster://:***@h:7000"),
        ("redis://:sec@ret@h", "redis://:***@h"),
        ("redis://:sec/ret@h:1", "redis://:***@h:1"),
        ("redis://:sec?ret@h:1", "redis://:***@h:1"),
        ("redis://:sec#ret@h:1", "redis://:***@h:1"),
        ("redis://:sec:ret@[::1]:1", "redis://:***@[::1]:1"),
        ("redis://h/0?password=secret&db=1", "redis://h/0?password=***&db=1"),
        ("rediss://h?db=1&ssl_password=secret", "rediss://h?db=1&ssl_password=***"),
        ("unix:///run/valkey.sock?password=secret", "unix:///run/valkey.sock?password=***"),
        ("unix://:secret@/run/valkey.sock", "unix://:***@/run/valkey.sock"),
        ("redis.url redis://:secret@h", "redis.url redis://:***@h"),
        ("postgresql://u:secret@h/db", "postgresql://u:***@h/db"),
    ],
)
def test_a_password_is_not_shown_wherever_it_stands(url: str, shown: str) -> None:
    assert hide_password(url) == shown
    assert has_password(url)


@pytest.mark.parametrize(
    "url", ["embedded", "", "redis://h:6379/0", "unix:///tmp/a@b/valkey.sock", "redis://[::1]:1", "http://h/?q=1"]
)
def test_what_has_none_is_shown_as_it_is(url: str) -> None:
    assert hide_password(url) == url
    assert not has_password(url)


def test_a_lone_user_may_be_a_password_in_the_wrong_place() -> None:
    assert hide_password("redis://secret@h") == "redis://***@h"
    assert not has_password("redis://secret@h")
