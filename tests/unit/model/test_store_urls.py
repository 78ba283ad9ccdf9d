"""URLs that name sentinels; the ones that are refused are in settings_file/test_load_settings.py."""

from mta.model.store_urls import SentinelUrl, is_sentinel_url, parse_sentinel_url


def test_the_shortest_one() -> None:
    found = parse_sentinel_url("redis+sentinel://one/main")
    assert found == SentinelUrl((("one", 26379),), "main", False, "", None, 0, "", None)


def test_the_longest_one() -> None:
    url = "rediss+sentinel://us%40er:p%2Fw@one:1,[2001:db8::1]:2,[::2]/ma%20in?db=3&sentinel_username=u&sentinel_password=p%26"
    assert parse_sentinel_url(url) == SentinelUrl(
        (("one", 1), ("2001:db8::1", 2), ("::2", 26379)), "ma in", True, "us@er", "p/w", 3, "u", "p&"
    )


def test_other_kinds_of_stores() -> None:
    assert is_sentinel_url("redis+sentinel://h/n")
    assert is_sentinel_url("rediss+sentinel://h/n")
    assert not any(map(is_sentinel_url, ("embedded", "redis://h", "redis+cluster://h", "unix:///s")))
