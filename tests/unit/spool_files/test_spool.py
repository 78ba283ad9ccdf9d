"""The spool's files: what is durable, torn, damaged, missing, full."""

import os

import pytest

from mta.ports.spool import Batch, Damage, Place
from mta.spool_files.spool import FileSpool
from tests.support.journal import delivery, entry

LIMIT = 2**20


def batch(*numbers, lane="0", size=10):
    return [(lane, entry(f"{n}-0", delivery("x" * size))) for n in numbers]


def everything(spool, place=None):
    """Batches and damages from there on."""
    place, found = place or spool.place_of("nobody"), []
    while place != spool.end:
        one = spool.read(place)
        place = one.end
        if isinstance(one, Damage) or one.entries:
            found.append(one)
    return found


def numbers(spool, place=None):
    return [
        int(one.id.partition("-")[0])
        for found in everything(spool, place)
        if isinstance(found, Batch)
        for _, one in found.entries
    ]


def newest(folder):
    return max(folder.glob("*.spool"))


def test_batches_are_read_in_order_from_any_place_across_segments(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT, 1000)
    places = [spool.append(batch(n, n + 1, size=300)) for n in range(0, 20, 2)]
    assert places == sorted(places)
    assert len(list(tmp_path.glob("*.spool"))) > 4
    assert numbers(spool) == list(range(20))
    assert numbers(spool, places[4]) == list(range(10, 20))
    spool.close()
    again = FileSpool(str(tmp_path), LIMIT, 1000)
    assert again.end == places[-1]
    assert numbers(again) == list(range(20))


def test_the_newest_entry_of_each_lane_is_known_after_a_restart_and_when_its_segment_is_gone(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT, 1000)
    spool.append(batch(7, lane="3"))
    for n in range(5):
        spool.append([*batch(n, size=600), ("", entry("rules.9"))])
    spool.trim(spool.end)
    spool.close()
    again = FileSpool(str(tmp_path), LIMIT, 1000)
    assert (again.last("3"), again.last("0"), again.last("1"), again.last("")) == ("7-0", "4-0", "0-0", "0-0")
    assert len(list(tmp_path.glob("*.spool"))) == 1


@pytest.mark.parametrize("left", [1, 11, 12, 40])
def test_a_batch_that_a_crash_left_unfinished_is_cut_off_and_said(tmp_path, caplog, left):
    spool = FileSpool(str(tmp_path), LIMIT)
    kept = spool.append(batch(1))
    spool.append(batch(2))
    spool.close()
    os.truncate(newest(tmp_path), kept.offset + left)
    again = FileSpool(str(tmp_path), LIMIT)
    assert again.end == kept
    assert again.last("0") == "1-0"
    assert f"an unfinished batch of {left} bytes is cut off" in caplog.text
    again.append(batch(3))
    assert numbers(again) == [1, 3]


def test_a_segment_that_a_crash_left_without_a_head_is_none(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT)
    spool.append(batch(1))
    spool.close()
    (tmp_path / "000000000002.new").write_bytes(b"")
    again = FileSpool(str(tmp_path), LIMIT)
    assert numbers(again) == [1]
    assert not list(tmp_path.glob("*.new"))


def test_damage_between_whole_batches_is_told_with_its_extent_and_survives_a_restart(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT)
    first, second = spool.append(batch(1)), spool.append(batch(2))
    spool.append(batch(3))
    spool.close()
    with newest(tmp_path).open("r+b") as file:
        file.seek(first.offset + 2)
        file.write(b"\0\0")
    again = FileSpool(str(tmp_path), LIMIT)
    good, bad, last = everything(again)
    assert (good.end, bad.end) == (first, second)
    assert f"{second.offset - first.offset} bytes from {first.offset} on cannot be read" in bad.reason
    assert [one.id for _, one in last.entries] == ["3-0"]


def test_segments_that_are_missing_are_told_once_and_passed_over(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT, 500)
    ends = [spool.append(batch(n, size=600)) for n in range(5)]
    spool.close()
    for number in (2, 3):
        (tmp_path / f"{number:012}.spool").unlink()
    again = FileSpool(str(tmp_path), LIMIT, 500)
    found = everything(again)
    assert [type(one).__name__ for one in found] == ["Batch", "Damage", "Batch", "Batch"]
    assert "000000000002.spool is missing" in found[1].reason
    assert numbers(again, ends[1]) == [3, 4], "one that was inside goes on behind it"


def test_a_full_disk_leaves_nothing_of_the_batch(tmp_path, monkeypatch):
    spool = FileSpool(str(tmp_path), LIMIT)
    kept = spool.append(batch(1))
    write, answers = os.write, iter([10])

    def full(fd, data):
        taken = next(answers, 0)
        if not taken:
            raise OSError(28, "No space left on device")
        return write(fd, bytes(data[:taken]))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        spool.append(batch(2))
    monkeypatch.undo()
    assert (spool.end, spool.last("0")) == (kept, "1-0")
    spool.append(batch(3))
    assert numbers(spool) == [1, 3]
    spool.close()
    assert numbers(FileSpool(str(tmp_path), LIMIT)) == [1, 3]


def test_a_disk_that_does_not_sync_keeps_nothing_of_the_batch(tmp_path, monkeypatch):
    spool = FileSpool(str(tmp_path), LIMIT)

    def broken(fd):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        patch.setattr(os, "ftruncate", lambda fd, size: broken(fd))
        with pytest.raises(OSError, match="Input/output"):
            spool.append(batch(1))
    spool.append(batch(2))
    assert numbers(spool) == [2]


def test_places_are_noted_each_for_itself_and_nonsense_means_the_oldest(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT)
    oldest = spool.place_of("log")
    place = spool.append(batch(1))
    spool.append(batch(2))
    spool.note("log", place)
    assert (spool.place_of("log"), spool.place_of("other")) == (place, oldest)
    for nonsense in ("", "x", "1", "9999 0", "1 99999999"):
        (tmp_path / "log.place").write_text(nonsense)
        assert spool.place_of("log") == oldest


def test_it_is_full_at_its_limit_until_it_is_trimmed(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT)
    while not spool.is_full():
        place = spool.append(batch(1, size=50_000))
    assert LIMIT <= spool.size < LIMIT + 60_000
    spool.trim(place)
    assert not spool.is_full()
    assert spool.size <= 200_000


def test_another_process_does_not_get_it(tmp_path):
    spool = FileSpool(str(tmp_path), LIMIT)
    with pytest.raises(OSError, match="another process has this spool"):
        FileSpool(str(tmp_path), LIMIT)
    spool.close()
    FileSpool(str(tmp_path), LIMIT).close()


def test_nobody_else_may_read_it(tmp_path):
    spool = FileSpool(str(tmp_path / "journal"), LIMIT)
    spool.note("log", Place(1, 2))
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "journal").iterdir()} == {0}
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
