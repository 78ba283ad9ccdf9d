"""The collector is off while a program is imported, and leaves it alone from then on."""

import subprocess
import sys

PROGRAM = """
import gc
gc.disable()
from mta.runtime.collector import collect_from_now_on

class Cycle:
    def __init__(self, name):
        self.name, self.me = name, self
    def __del__(self):
        print("collected", self.name)

Cycle("import")
collect_from_now_on()
print("collects" if gc.isenabled() else "does not collect")
Cycle("work")
gc.collect()
Cycle("end")
"""


def test_the_collector_looks_at_the_objects_of_the_work_alone() -> None:
    ran = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, timeout=90)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["collects", "collected work"]
