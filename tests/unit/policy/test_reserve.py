"""The free space that mail leaves on a disk, and when mail is refused and taken again."""

import pytest

from mta.policy.reserve import has_room, is_getting_short, may_compact, reserve_of, room_for_mail

MIB = 1024 * 1024
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("total", "kept"), [(60 * MIB, 8 * MIB), (200 * MIB, 20 * MIB), (10 * GIB, 256 * MIB), (4000 * GIB, 256 * MIB)]
)
def test_r4_a_tenth_is_kept_but_never_too_little_nor_too_much(total: int, kept: int) -> None:
    assert reserve_of(total) == kept


def test_r4_mail_is_refused_below_the_reserve_and_taken_again_clearly_above_it() -> None:
    total = 60 * MIB
    assert has_room(8 * MIB, total, was_short=False)
    assert not has_room(8 * MIB - 1, total, was_short=False)
    assert not has_room(10 * MIB - 1, total, was_short=True)
    assert has_room(10 * MIB, total, was_short=True)


def test_r4_a_message_may_not_take_what_is_kept() -> None:
    total = 60 * MIB
    assert room_for_mail(8 * MIB, total) > 50 * 1024, "wherever mail is taken at all an ordinary message fits"
    assert MIB < room_for_mail(9 * MIB, total) < 2 * MIB


@pytest.mark.parametrize(
    ("free", "file", "data", "may"),
    [
        (9 * MIB, 40 * MIB, 2 * MIB, True),
        (40 * MIB, 40 * MIB, 2 * MIB, False),  # nothing is short
        (9 * MIB, 40 * MIB, 30 * MIB, False),  # most of the file is alive
        (9 * MIB, 40 * MIB, 6 * MIB, False),  # the new file has no room beside the old one
        (9 * MIB, 3 * MIB, 1 * MIB, False),  # little would come of it
    ],
)
def test_r4_the_servers_file_is_written_anew_where_that_helps(free: int, file: int, data: int, may: bool) -> None:
    total = 60 * MIB
    assert is_getting_short(free, total) == (free < 32 * MIB)
    assert may_compact(free, total, file, data) is may
