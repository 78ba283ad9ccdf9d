"""Two seeds of `make faults`: mail with idempotency keys through killed processes and servers."""

import pathlib

import pytest

from tests.faults.injection import InjectionFaults


@pytest.mark.parametrize("seed", [1, 2])
def test_each_key_counts_once_while_processes_and_the_server_are_killed(tmp_path: pathlib.Path, seed: int) -> None:
    faults = InjectionFaults(tmp_path, seed, seconds=4.0)
    faults.run()
    assert faults.repeated > 0
