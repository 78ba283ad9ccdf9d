"""The command of a child process, `python -m mta.runtime.launch MODULE`: it runs the module as a program.

Until the module calls `child.run`, the garbage collector is off: an import makes a hundred thousand objects, and nearly
all of them live as long as the process. Leaving them alone saves a tenth of the time of a start, and, at the end of the
process, the search through them for garbage that the system takes back anyway.
"""

import atexit
import gc
import runpy
import signal
import sys


def collect_from_now_on() -> None:
    """Turn the collector on. It never looks at the objects that are there already, nor at any when the process ends."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.freeze)


if __name__ == "__main__":
    gc.disable()
    # Files are opened anew on this signal. A process that still starts has none, and would die of it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
