"""A short soak: a few faults, two orders, and a clean verdict; `make soak` does the same for minutes."""

from pathlib import Path

from tests.soak import report
from tests.soak.plan import plan_of
from tests.soak.run import soak

SEED = 16
MESSAGES = 60  # at least, of about 300: a busy machine leaves some out


async def test_a_short_soak_is_clean(tmp_path: Path):
    plan = plan_of(SEED, seconds=5.0, rate=60.0, order_every=2.2, fault_every=1.6)
    result = await soak(plan, tmp_path / "cluster")
    assert result["examples"] == {}
    assert result["clean"]
    assert result["messages"]["accepted"] > MESSAGES
    assert result["orders"]["given"] == len(plan.orders) == 2
    assert sum(result["faults"].values()) == len(plan.faults) >= 2
    assert "NOT CLEAN" not in report.write(tmp_path, [result]).read_text()
