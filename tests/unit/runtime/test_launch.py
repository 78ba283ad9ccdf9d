"""A child process imports its program while the garbage collector is off, and leaves it alone from then on."""

import subprocess
import sys

PROGRAM = """
import gc
from mta.runtime.launch import collect_from_now_on

class Cycle:
    def __init__(self, name):
        self.name, self.me = name, self
    def __del__(self):
        print("collected", self.name)

print(__name__, "collects" if gc.isenabled() else "does not collect")
Cycle("import")
collect_from_now_on()
print("collects" if gc.isenabled() else "does not collect")
Cycle("work")
gc.collect()
Cycle("end")
"""


def test_the_collector_looks_at_the_objects_of_the_work_alone(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-P", "-m", "mta.runtime.launch", "program"]
    ran = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["__main__ does not collect", "collects", "collected work"]
