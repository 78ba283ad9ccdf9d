"""The ends of rows in a stream: any split of the bytes, rows without end, and rows that are too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.suppressions import row_ends
from control_api.suppressions.row_ends import RowEnds, Unusable


def rows(raw: bytes, step: int, quotes: bool = True) -> list[bytes | Unusable]:
    ends, found = RowEnds(quotes), []
    for at in range(0, len(raw), step):
        found += list(ends.feed(raw[at : at + step]))
    found += list(ends.finish())
    assert sum(1 if isinstance(part, Unusable) else part.count(b"\n") for part in found) == len(raw.splitlines())
    return found


def joined(parts: list[bytes | Unusable]) -> list[bytes | Unusable]:
    """With whole rows that stand side by side as one."""
    found: list[bytes | Unusable] = []
    for part in parts:
        if found and isinstance(part, bytes) and isinstance(last := found[-1], bytes):
            found[-1] = last + part
        else:
            found.append(part)
    return found


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (b'a\nb,"c\nd"\n', [b'a\nb,"c\nd"\n']),
        (b"a\nb", [b"a\nb\n"]),
        (b'a\nb,"c\nd\ne\n', [b"a\n", Unusable.OPEN_QUOTE, b"d\ne\n"]),
        (b'a\nb,"c\nd,"e\nf,"\ng\n', [b'a\nb,"c\nd,"e\n', Unusable.OPEN_QUOTE, b"g\n"]),
        (b"", []),
        (b'"', [Unusable.OPEN_QUOTE]),
    ],
)
def test_rows_end_outside_of_quotes(raw: bytes, want: list[bytes | Unusable], step: int) -> None:
    assert joined(rows(raw, step)) == want


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("quotes", [True, False])
def test_a_line_that_is_too_long_is_left_out(step: int, quotes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_ends, "LONGEST", 20)
    raw = b"a\n" + b"x" * 2000 + b"\nb\n" + b"y" * 2000
    assert joined(rows(raw, step, quotes)) == [b"a\n", Unusable.TOO_LONG, b"b\n", Unusable.TOO_LONG]


@pytest.mark.parametrize("step", [1, 7])
def test_a_quote_that_stays_open_for_long_costs_its_own_line_only(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_ends, "LONGEST", 20)
    rest = b"".join(b"row%d\n" % number for number in range(100))
    assert joined(rows(b'a\nb,"c\n' + rest, step)) == [b"a\n", Unusable.OPEN_QUOTE, rest]


@given(st.binary(max_size=60).map(lambda raw: raw.replace(b"\r", b"")), st.integers(1, 60))
def test_any_split_gives_the_same_rows_without_quotes(raw: bytes, step: int) -> None:
    assert b"".join(part for part in rows(raw, step, quotes=False) if isinstance(part, bytes)).rstrip(
        b"\n"
    ) == raw.rstrip(b"\n")
