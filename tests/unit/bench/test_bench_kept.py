"""How much of an earlier commit's rate is kept: the interval, and the exit status."""

from pathlib import Path
from typing import Any

import pytest

from bench import kept
from bench.__main__ import arguments


def legs(*ratios: float) -> list[dict[str, Any]]:
    base = {"rate": 1000.0, "cpu_us": 100.0, "seconds": 6.0}
    return [{"base": base, "here": base | {"rate": 1000.0 * ratio, "cpu_us": 100.0 / ratio}} for ratio in ratios]


def test_the_interval_holds_the_median_and_is_the_same_each_time() -> None:
    ratios = [0.9, 0.95, 0.97, 0.98, 1.0, 1.0, 1.01, 1.02, 1.05, 1.3]
    found = kept._interval(ratios)
    assert found["least"] == 0.9 <= found["from"] < found["median"] == 1.0 < found["to"] <= found["most"] == 1.3
    assert found == kept._interval(ratios)
    assert kept._interval([0.5] * 10) == dict.fromkeys(("median", "from", "to", "least", "most"), 0.5)


@pytest.mark.parametrize(("ratio", "status"), [(0.99, 0), (0.9, 1)])
def test_the_exit_status_says_whether_enough_is_kept(
    ratio: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_pairs", lambda *_: legs(*[ratio] * 10))
    given = arguments(["kept", "HEAD", "--data-dir", "/var/tmp", "--results", str(tmp_path)])
    assert kept.COMMAND.main(given) == status
    (page,) = tmp_path.glob("*.md")
    assert f"this tree by the base: {ratio}" in page.read_text()


def test_what_is_no_commit_is_refused() -> None:
    with pytest.raises(SystemExit, match="is no commit of this clone"):
        kept._commit("no-such-commit")
