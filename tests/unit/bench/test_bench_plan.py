import argparse
import array
import struct
import zlib
from collections import Counter
from pathlib import Path

import pytest

from bench.instants import read_instants, write_instants
from bench.plan import Plan
from bench.size_mix import size_mix

MIX = "4096:0.7,51200:0.25,512000:0.05"


def test_every_period_of_a_mix_has_the_shares_exactly() -> None:
    sizes = size_mix(MIX)
    assert len(sizes) % 20 == 0
    for at in range(0, len(sizes), 20):
        assert Counter(sizes[at : at + 20]) == {4096: 14, 51200: 5, 512000: 1}


def test_a_mix_is_the_same_in_every_run() -> None:
    assert size_mix(MIX) == size_mix(MIX)


@pytest.mark.parametrize("domains", [5, 20])
def test_large_messages_of_a_mix_go_to_all_domains_alike(domains: int) -> None:
    sizes = size_mix(MIX)
    large = Counter(number % domains for number in range(10_000) if sizes[number % len(sizes)] == 512000)
    assert len(large) == domains
    assert max(large.values()) < 2 * 500 / domains


@pytest.mark.parametrize("text", ["", "4096", "4096:", "a:1", "0:1", "4096:0", "4096:1/0", "4096:0.99999,9:0.00001"])
def test_what_is_no_mix_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size_mix(text)


def test_shares_need_not_add_up_to_one() -> None:
    assert Counter(size_mix("10:3,20:1")[:4]) == {10: 3, 20: 1}


def test_each_message_has_the_size_that_is_its_turn() -> None:
    plan = Plan(3, [600, 900, 2000], 1)
    assert [len(plan.content(number)) - len(b".\r\n") for number in range(4)] == [600, 900, 2000, 600]


@pytest.mark.parametrize("size", range(400, 480))
def test_a_body_is_lines_of_text_whatever_its_length(size: int) -> None:
    lines = Plan(1, [size], 1).content(0).split(b"\r\n")
    assert b"\r" not in b"".join(lines)
    assert lines[-2:] == [b".", b""]
    assert max(map(len, lines)) <= 78
    assert b"." not in lines[:-2]


def test_a_body_compresses_no_better_than_an_attachment() -> None:
    content = Plan(1, [51200], 1).content(0)
    assert len(zlib.compress(content)) > 0.7 * len(content)


def test_the_recipients_of_a_message_have_consecutive_numbers_at_one_domain() -> None:
    plan = Plan(10, [512], 4, recipients=3)
    lines = plan.envelope(6).split(b"\r\n")
    assert lines[1:4] == [b"RCPT TO:<u%08d@d2.bench.test>" % number for number in (18, 19, 20)]
    assert plan.replies == len(lines) - 1 == 5
    assert plan.content(6).startswith(b"X-Bench: 00000006 ")


def test_instants_are_little_endian_doubles_by_number(tmp_path: Path) -> None:
    path = tmp_path / "instants"
    write_instants(path, array.array("d", [1.5, 0.0, 2.25]))
    assert path.read_bytes() == struct.pack("<3d", 1.5, 0.0, 2.25)
    assert list(read_instants(path)) == [1.5, 0.0, 2.25]
