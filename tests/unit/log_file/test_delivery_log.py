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


def test_a_torn_line_is_cut_off_and_events_written_before_a_crash_come_once(tmp_path):
    path = tmp_path / "log" / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    log.write(items("0.1-0.0", "0.1-0.1"))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"v":1,"time":"x","event":"0.2-')
    log = DeliveryLog(str(path), lines)
    log.write(items("0.1-0.1", "0.2-0.0"))
    assert path.read_bytes().splitlines() == [line(i) for i in ("0.1-0.0", "0.1-0.1", "0.2-0.0")]


def test_a_batch_of_any_length_is_written_in_order_and_told_as_it_is_in_the_file(tmp_path):
    path, ids = tmp_path / "d.jsonl", [str(n) for n in range(250)]
    log = DeliveryLog(str(path), lines)
    assert log.write([]) == []
    assert b"".join(log.write(items(*ids))) == path.read_bytes()
    assert path.read_bytes().splitlines() == [line(i) for i in ids]


def test_a_moved_file_is_left_and_a_new_one_begun(tmp_path):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    log.write(items("a"))
    path.rename(tmp_path / "d.1")
    log.write(items("b"))
    assert path.read_bytes() == line("b") + b"\n"
    assert (tmp_path / "d.1").read_bytes() == line("a") + b"\n"


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    path = tmp_path / "d.jsonl"
    log = DeliveryLog(str(path), lines)
    log.write(items("a"))
    write = os.write
    answers = iter([lambda fd, data: write(fd, bytes(data[:10]))])

    def full(fd, data):
        return next(answers, _no_space)(fd, data)

    def _no_space(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        log.write(items("b"))
    monkeypatch.undo()
    log.write(items("b"))
    assert path.read_bytes() == line("a") + b"\n" + line("b") + b"\n"


def test_a_second_writer_is_refused(tmp_path):
    log = DeliveryLog(str(tmp_path / "d"), lines)
    with pytest.raises(OSError, match="another process"):
        DeliveryLog(str(tmp_path / "d"), lines)
    log.close()
