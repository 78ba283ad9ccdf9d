"""One damage to the code, and the test that must notice it."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """In `file` the text `old`, which is there exactly once, becomes `new`; then `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str
