"""How the events of one step are framed."""

import pytest

from mta.model.entries import framed, unframed

EVENTS = (b"one", b"two" * 100, b"three")


@pytest.mark.parametrize(
    ("left_out", "found"),
    [((), EVENTS), ((1,), (EVENTS[0], EVENTS[2])), ((0, 2), (EVENTS[1],)), ((0, 1, 2), ())],
)
def test_events_are_read_as_they_were_framed_but_for_those_left_out(
    left_out: tuple[int, ...], found: tuple[bytes, ...]
) -> None:
    places = b"".join(place.to_bytes(2, "big") for place in left_out)
    assert unframed(framed(EVENTS), places) == found


def test_an_empty_event_is_none() -> None:
    assert unframed(framed((b"", b"x", b""))) == (b"x",)
    assert unframed(framed(())) == ()
