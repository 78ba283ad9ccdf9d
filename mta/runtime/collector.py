"""The garbage collector of a process that has imported its program.

An import makes a hundred thousand objects, and nearly all of them live as long as the process. The collector is off
while a program is imported. Leaving the imported objects alone from then on saves a tenth of the time of a start, and,
at the end of the process, the search through them for garbage that the system takes back anyway.
"""

import atexit
import gc

# New objects between two collections. The usual 700 are those of ten connections, and each collection of the oldest
# objects walks through all that the process remembers. Most objects are freed without the collector.
_YOUNG = 20_000


def collect_from_now_on() -> None:
    """Turn the collector on. It never looks at the objects that are there already, nor at any when the process ends."""
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
    gc.enable()
    atexit.register(gc.freeze)
