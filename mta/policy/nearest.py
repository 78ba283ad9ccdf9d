"""The known names that are nearest to a mistyped one."""

import difflib
from collections.abc import Iterable
from typing import Final

_MOST: Final = 3
_CUTOFF: Final = 0.75  # of difflib's ratio: two letters in eight may be wrong
_LONGER: Final = 3  # letters that may be too many or too few
_COMPARED: Final = 5000  # names that are compared letter by letter, a tenth of a second


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """At most three of `names` that `word` may stand for, the nearest first. Letters are compared without case."""
    wanted = word.casefold()
    rough = {name: folded for name in names if _is_near(wanted, folded := name.casefold())}
    compared = dict(list(rough.items())[:_COMPARED])
    found = difflib.get_close_matches(wanted, set(compared.values()), _MOST, _CUTOFF)
    near = [name for folded in found for name in sorted(compared) if compared[name] == folded and name != word]
    return near[:_MOST]


def _is_near(wanted: str, name: str) -> bool:
    """A cheap test that every name with at most two wrong letters passes: it shares a third of the word."""
    third = max(1, len(wanted) // 3)
    return abs(len(wanted) - len(name)) <= _LONGER and (
        name.startswith(wanted[:third]) or name.endswith(wanted[-third:]) or wanted[third:-third] in name
    )
