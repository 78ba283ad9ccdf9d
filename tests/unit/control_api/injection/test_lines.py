"""The lines of a stream: whatever the pieces are in which they come, they are the same, and none is kept for long."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from control_api.http.problems import Problem
from control_api.injection import reading
from control_api.injection.reading import Line, Lines


class Content:
    """The body, as the parser of aiohttp gives it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    async def readany(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


class Request:
    """The part of a request that lines are read from."""

    charset = None
    content_type = "application/x-ndjson"

    def __init__(self, pieces: list[bytes]) -> None:
        self.headers = CIMultiDict({"Content-Type": self.content_type})
        self.content = Content(pieces)


async def lines_of(pieces: list[bytes], most: int = 1000, at_once: int = 3) -> list[Line]:
    request: Any = Request(pieces)
    lines, found = Lines(request, most), []
    while some := await lines.some(at_once):
        assert len(some) <= at_once
        found += some
    return found


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"", b"a", b"  b ", b"\r", b"cc"]), max_size=20), st.integers(1, 7), st.booleans())
def test_lines_are_alike_however_they_are_cut(texts: list[bytes], size: int, ended: bool) -> None:
    raw = b"\n".join(texts) + (b"\n" if ended else b"")
    wanted = [Line(number, text.strip()) for number, text in enumerate(texts, 1) if text.strip()]
    assert asyncio.run(lines_of([raw[at : at + size] for at in range(0, len(raw), size)])) == wanted


async def test_the_first_line_has_a_bound_and_the_others_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_OF_LINE", 10)
    assert len(await lines_of([b"x" * 100 + b"\n", b"y" * 10 + b"\n"], most=200)) == 2
    with pytest.raises(Problem) as caught:
        await lines_of([b"x" * 60] * 10, most=100)
    assert caught.value.status == 413
    with pytest.raises(Problem, match="line 2"):
        await lines_of([b"x\n", b"y" * 9, b"y" * 9, b"y"], most=100)


async def test_a_whole_line_that_comes_in_one_piece_has_its_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_OF_LINE", 10)
    with pytest.raises(Problem, match="line 2"):
        await lines_of([b"x\n" + b"y" * 5000 + b"\n"], most=100)
