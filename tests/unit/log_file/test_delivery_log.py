import os

import pytest

from mta.log_file.delivery_log import DeliveryLog
from mta.model.events import Event, EventType


def line(event_id):
    return b'{"v":1,"time":"x","event":"%s"}' % event_id.encode()


def lines(events):
    return b"".join([line(event_id) + b"\n" for event_id, _ in events])


def items(*ids):
    return [(event_id, Event(EventType.DELIVERY, 1)) for event_id in ids]


def write(log, *ids):
    log.add(items(*ids))
    log.write()


def test_a_torn_line_is_cut_off_and_events_written_before_a_crash_come_once(tmp_path):
    path = tmp_path / "log" / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    write(log, "0.1-0.0", "0.1-0.1")
    log.close()
    with path.open("ab") as file:
        file.write(b'{"v":1,"time":"x","event":"0.2-')
    log = DeliveryLog(str(path), lines)
    write(log, "0.1-0.1", "0.2-0.0")
    assert path.read_bytes().splitlines() == [line(i) for i in ("0.1-0.0", "0.1-0.1", "0.2-0.0")]


def test_what_is_added_piece_by_piece_is_written_at_once_in_order(tmp_path):
    path, ids = tmp_path / "d.jsonl", [str(n) for n in range(250)]
    log = DeliveryLog(str(path), lines)
    log.write()
    for at in range(0, 250, 100):
        log.add(items(*ids[at : at + 100]))
    assert path.read_bytes() == b""
    log.write()
    assert path.read_bytes().splitlines() == [line(i) for i in ids]


def test_a_moved_file_is_left_and_a_new_one_begun(tmp_path):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    write(log, "a")
    path.rename(tmp_path / "d.1")
    write(log, "b")
    assert path.read_bytes() == line("b") + b"\n"
    assert (tmp_path / "d.1").read_bytes() == line("a") + b"\n"


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    write(log, "a")
    os_write = os.write
    answers = iter([lambda fd, data: os_write(fd, bytes(data[:10]))])

    def full(fd, data):
        return next(answers, _no_space)(fd, data)

    def _no_space(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write(log, "b")
    monkeypatch.undo()
    write(log, "b")
    assert path.read_bytes() == line("a") + b"\n" + line("b") + b"\n"


def test_a_second_writer_is_refused(tmp_path):
    log = DeliveryLog(str(tmp_path / "d"), lines)
    with pytest.raises(OSError, match="another process"):
        DeliveryLog(str(tmp_path / "d"), lines)
    log.close()


def no_space(*args):
    raise OSError(28, "No space left on device")


def test_what_comes_again_after_a_failure_is_in_the_file_once(tmp_path, monkeypatch):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    write(log, "a")
    write(log, "b")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        with pytest.raises(OSError, match="No space"):
            write(log, "c")
    log.sync()  # what was written before is kept
    write(log, "c")
    assert path.read_bytes().splitlines() == [line(i) for i in "abc"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        patch.setattr(os, "ftruncate", no_space)
        with pytest.raises(OSError, match="No space"):
            write(log, "d")
    with pytest.raises(OSError, match="closed before it was synced"):
        log.sync()
    write(log, "c")  # everything since the last sync
    write(log, "d")
    assert path.read_bytes().splitlines() == [line(i) for i in "abcd"]


def test_a_moved_file_keeps_its_lines_where_no_new_one_can_be_opened(tmp_path):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    write(log, "a")
    path.rename(tmp_path / "d.1")
    path.mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            write(log, "b")
        log.sync()
    path.rmdir()
    write(log, "b")
    assert (tmp_path / "d.1").read_bytes() + path.read_bytes() == line("a") + b"\n" + line("b") + b"\n"


def test_lines_that_could_not_be_synced_are_cut_off_and_come_again(tmp_path, monkeypatch):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    write(log, "a")
    log.sync()
    write(log, "b")

    def broken(fd):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError, match="Input/output"):
            log.sync()
    assert path.read_bytes() == line("a") + b"\n"
    write(log, "b")
    assert path.read_bytes().splitlines() == [line("a"), line("b")]


def test_a_file_is_synced_before_it_is_let_go_of(tmp_path, monkeypatch):
    path, synced = tmp_path / "d.jsonl", []
    log = DeliveryLog(str(path), lines)
    write(log, "a")
    path.rename(tmp_path / "d.1")
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(os.fstat(fd).st_ino), real(fd)))
    log.reopen()
    assert (tmp_path / "d.1").stat().st_ino in synced
    write(log, "b")
    assert path.read_bytes() == line("b") + b"\n"
