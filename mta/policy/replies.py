"""The reply book: finds what is known about a reply of a destination, and decides by it."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import re2

from mta.model.errors import BadValue
from mta.model.outcomes import Reply, Verdict
from mta.model.phases import Phase
from mta.model.replies import (
    ALIASES,
    CODE,
    ENHANCED,
    PROVIDER,
    Fault,
    Known,
    Reaction,
    ReplyEntry,
    category_of,
    known_by,
)
from mta.policy.failures import is_of_the_mail, judge

_TEXT_AT_MOST: Final = 1024  # characters of a reply that patterns look at
_NONE: Final[Mapping[str, ReplyEntry]] = {}
_BOUNCE, _RECIPIENT = Reaction.BOUNCE, Fault.RECIPIENT


class Judged(NamedTuple):
    """The verdict on a reply, and the knowledge behind it; None: the reply is not known."""

    verdict: Verdict
    known: Known | None = None


class _Condition(NamedTuple):
    """An entry beside its pattern; entries are compared by their place alone, since no two have the same."""

    place: int
    known: Known
    code: re.Pattern[str] | None
    enhanced: str

    def fits(self, reply: Reply, before_mail: bool) -> bool:
        if before_mail and self.known.fault is _RECIPIENT:
            return False  # a host that refuses everybody says nothing about a recipient
        if self.code is not None and self.code.fullmatch(str(reply.code)) is None:
            return False
        return not self.enhanced or _fits(self.enhanced, reply.enhanced)


class ReplyBook:
    """Entries by their order: the first one that fits a reply counts. The book is made once and asked for replies that
    are no success only."""

    def __init__(self, entries: Mapping[str, ReplyEntry] = _NONE) -> None:
        """`entries` by name, each without a fault (`fault_of`)."""
        self._patterns: list[_Condition] = []
        self._by_enhanced: dict[str, list[_Condition]] = {}
        self._by_code: list[_Condition] = []
        self._set = re2.Set.SearchSet(options())
        for place, (name, entry) in enumerate(entries.items()):
            self._add(place, name, entry)
        self._set.Compile()

    def _add(self, place: int, name: str, entry: ReplyEntry) -> None:
        code = re.compile("|".join(code.replace("x", "[0-9]") for code in entry.code)) if entry.code else None
        condition = _Condition(place, known_by(name, entry), code, entry.enhanced)
        if entry.pattern:
            self._set.Add(entry.pattern)
            self._patterns.append(condition)
        elif entry.enhanced:
            self._by_enhanced.setdefault(entry.enhanced[1:], []).append(condition)
        else:
            self._by_code.append(condition)

    def find(self, phase: Phase, reply: Reply) -> Known | None:
        """The knowledge about a reply that came in this phase."""
        before_mail = not is_of_the_mail(phase)
        found: list[_Condition] = [*self._by_code, *self._by_enhanced.get(reply.enhanced[1:], ())]
        if self._patterns:
            found += [self._patterns[number] for number in self._set.Match(reply.text[:_TEXT_AT_MOST]) or ()]
        for condition in sorted(found):
            if condition.fits(reply, before_mail):
                return condition.known
        return None

    def judge(self, phase: Phase, reply: Reply) -> Judged:
        """The verdict on a delivery by a final reply. An entry decides whether a 5xx ends a delivery; a 4xx never ends
        one."""
        verdict = judge(phase, reply)
        if verdict is Verdict.DELIVERED:
            return Judged(verdict)
        known = self.find(phase, reply)
        if known is None or not is_of_the_mail(phase):
            return Judged(verdict, known)
        if known.reaction is not _BOUNCE:
            return Judged(Verdict.TEMPORARY, known)
        return Judged(Verdict.PERMANENT if reply.code >= 500 else verdict, known)


def options() -> "re2.Options":
    """Those of all expressions about replies."""
    found = re2.Options()
    found.case_sensitive = False
    found.log_errors = False
    return found


def _fits(wanted: str, enhanced: str) -> bool:
    return enhanced == wanted or (wanted[0] == "x" and enhanced[1:] == wanted[1:])


def check_pattern(pattern: str) -> None:
    """Raises BadValue where it is no RE2 expression."""
    try:
        re2.compile(pattern, options())
    except re2.error as error:
        said = error.args[0] if error.args else "it cannot be read"
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise BadValue("pattern", f"is no RE2 expression ({words}): {pattern}") from None


def fault_of(entry: ReplyEntry) -> BadValue | None:
    """The reason why the entry cannot be used, None: it can."""
    if category_of(entry.category) is None:
        return BadValue("category", f"{entry.category} is none of {', '.join(ALIASES)}")
    if entry.enhanced and re.fullmatch(ENHANCED, entry.enhanced) is None:
        return BadValue("enhanced", f'{entry.enhanced} is no enhanced code; write one such as "5.1.1" or "x.1.1"')
    if re.fullmatch(PROVIDER, entry.provider) is None:
        return BadValue("provider", "must be at most 63 letters, digits, blanks, dots, _ and -")
    for code in entry.code:
        if re.fullmatch(CODE, code) is None:
            return BadValue("code", f'{code} is no reply code; write ones such as "550" or "45x"')
    if not (entry.pattern or entry.enhanced or entry.code):
        return BadValue("pattern", "the entry would fit every reply; give a pattern, a code or an enhanced code")
    try:
        check_pattern(entry.pattern)
    except BadValue as error:
        return error
    return None


def merged(*layers: Mapping[str, ReplyEntry]) -> dict[str, ReplyEntry]:
    """The entries in use of several layers, the strongest first. An entry hides those of its name in weaker layers."""
    found: dict[str, ReplyEntry] = {}
    for layer in layers:
        for name, entry in layer.items():
            found.setdefault(name, entry)
    return {name: entry for name, entry in found.items() if entry.enabled}
