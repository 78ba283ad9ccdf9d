"""The library of atomic steps: the .lua files as one text, under a name that holds a hash of that text.

A server keeps the libraries of any number of builds side by side, and none is ever replaced: a node's steps are its own
whatever other nodes of its store run.
"""

import hashlib
import importlib.resources
import re
from typing import Final

FIRST: Final = "fg1"  # the library of builds that did not register a name


def _text() -> str:
    """The .lua files in the order of their names."""
    folder = importlib.resources.files("mta.redis_store") / "steps"
    pieces = sorted((entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".lua"))
    return "\n".join(text for _, text in pieces)


def is_ours(name: str) -> bool:
    """Whether a library of that name was loaded by some build of this program."""
    return name == FIRST or re.fullmatch(r"fg_[0-9a-f]{8}", name) is not None


_TEXT: Final = _text()
NAME: Final = f"fg_{hashlib.sha256(_TEXT.encode()).hexdigest()[:8]}"
CODE: Final = f"#!lua name={NAME}\nlocal STEP = '{NAME}_'\n{_TEXT}"

# A step's name as callers say it -> the function's. Libraries share one namespace for functions.
STEPS: Final = {step.encode(): f"{NAME}_{step}".encode() for step in re.findall(r"= STEP \.\. '(\w+)'", _TEXT)}
