"""The library's name says what is in it, and every step is found under it."""

import pathlib
import re

from mta.redis_store import library

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_k15_the_name_holds_a_hash_of_the_text():
    assert re.fullmatch(r"fg_[0-9a-f]{8}", library.NAME)
    assert library.CODE.startswith(f"#!lua name={library.NAME}\nlocal STEP = '{library.NAME}_'\n")


def test_k15_every_function_is_registered_under_the_name():
    code = library.CODE
    assert code.count("redis.register_function {") == code.count("function_name = STEP .. '") == len(library.STEPS)
    assert library.STEPS[b"accept"] == f"{library.NAME}_accept".encode()


def test_k15_what_is_called_is_there_and_what_is_there_is_called():
    calls = set()
    for path in (ROOT / "mta/redis_store").glob("*.py"):
        calls |= set(re.findall(r'\b_?link\.call(?:_kept)?[(,]\s*b"(\w+)"', path.read_text()))
    assert {call.encode() for call in calls} == library.STEPS.keys()


def test_k15_libraries_of_other_programs_are_not_ours():
    assert [name for name in (library.NAME, "fg1", "fg_12345678", "fg_1", "fg2", "mylib") if library.is_ours(name)] == [
        library.NAME,
        "fg1",
        "fg_12345678",
    ]
