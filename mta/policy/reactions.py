"""The reaction book: finds the reactions that a reply counts for, and says what each orders."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import re2

from mta.model.errors import BadValue
from mta.model.limit_orders import LimitOrder
from mta.model.outcomes import Reply
from mta.model.reactions import MOST, NAME, ReactionSettings, author_of
from mta.model.replies import CODE, ENHANCED
from mta.model.text import visible
from mta.model.units import format_duration, parse_rate
from mta.policy.replies import check_pattern, options

_THRESHOLD: Final = re.compile("([1-9][0-9]{0,3})/([smhd])", re.ASCII)
_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT_AT_MOST: Final = 1024  # characters of a reply that expressions look at
_REASON_AT_MOST: Final = 390  # bytes
_SHOWN: Final = 3  # replies in a reason
_LEAST_REPEAT_MS: Final = 60_000


class Reaction(NamedTuple):
    """A reaction, ready for use."""

    name: str
    site: str
    code: "re.Pattern[str] | None"
    enhanced: str
    scope: str
    closed: bool
    connections: int
    messages_per_minute: float
    messages_per_connection: int
    threshold: str
    needed: int
    window_ms: int
    for_ms: int

    def fits(self, site: str, reply: Reply) -> bool:
        """Whether a reply of this site counts, as far as its text does not matter."""
        if self.site and self.site != site:
            return False
        if self.code is not None and self.code.fullmatch(str(reply.code)) is None:
            return False
        wanted, given = self.enhanced, reply.enhanced
        return not wanted or given == wanted or (wanted[0] == "x" and given[1:] == wanted[1:])


class ReactionBook:
    """It is asked about replies that are no success only."""

    def __init__(self, settings: Iterable[ReactionSettings]) -> None:
        """`settings` are without a fault (`faults_of`)."""
        self._plain: list[Reaction] = []
        self._by_text: list[Reaction] = []
        self._set = re2.Set.SearchSet(options())
        for one in settings:
            if not one.enabled:
                continue
            if one.text:
                self._set.Add(one.text)
                self._by_text.append(_ready(one))
            else:
                self._plain.append(_ready(one))
        self._set.Compile()

    def __bool__(self) -> bool:
        return bool(self._plain or self._by_text)

    def find(self, site: str, reply: Reply) -> list[Reaction]:
        """The reactions that a reply of this site counts for."""
        found = list(self._plain)
        if self._by_text:
            found += [self._by_text[number] for number in self._set.Match(reply.text[:_TEXT_AT_MOST]) or ()]
        return [reaction for reaction in found if reaction.fits(site, reply)]


def _ready(one: ReactionSettings) -> Reaction:
    count, window_ms = _threshold(one.threshold) or (1, 1)
    return Reaction(
        one.name,
        one.site,
        re.compile("|".join(code.replace("x", "[0-9]") for code in one.code)) if one.code else None,
        one.enhanced,
        one.scope,
        one.action == "pause",
        int(one.value) if one.action == "connections" else 0,
        round(parse_rate(one.value, "value") * 60, 6) if one.action == "slow" else 0.0,
        int(one.value) if one.action == "messages_per_connection" else 0,
        one.threshold,
        count,
        window_ms,
        round(one.for_ * 1000),
    )


def _threshold(text: str) -> tuple[int, int] | None:
    found = _THRESHOLD.fullmatch(text)
    return None if found is None or int(found[1]) > MOST else (int(found[1]), _MS[found[2]])


def faults_of(one: ReactionSettings) -> Iterable[BadValue]:
    """Why it cannot be used; the field of each is a key of the table."""
    if re.fullmatch(NAME, one.name) is None:
        yield BadValue("name", "must be 1 to 63 letters, digits, dots, _ and -")
    for code in one.code:
        if re.fullmatch(CODE, code) is None:
            yield BadValue("code", f'{code} is no reply code; write ones such as "421" or "45x"')
    if one.enhanced and re.fullmatch(ENHANCED, one.enhanced) is None:
        yield BadValue("enhanced", f'{one.enhanced} is no enhanced code; write one such as "4.7.0" or "x.7.1"')
    if not (one.code or one.enhanced or one.text):
        yield BadValue("text", "the reaction would count every reply; give text, code or enhanced")
    try:
        check_pattern(one.text)
    except BadValue as error:
        yield BadValue("text", error.reason)
    if _threshold(one.threshold) is None:
        words = f"{one.threshold!r} is no threshold; write 1 to {MOST} and /s, /m, /h or /d, such as"
        yield BadValue("threshold", f'{words} "3/h"')
    yield from _faults_of_value(one)
    if one.scope in ("tenant", "tag") and one.action != "pause":
        yield BadValue("action", f'a reaction of scope {one.scope} can only "pause"; write scope = "ip" or "pool"')


def _faults_of_value(one: ReactionSettings) -> Iterable[BadValue]:
    if one.action == "pause" and one.value:
        yield BadValue("value", 'does nothing where action = "pause"; remove it')
    noun = {"connections": "connections", "messages_per_connection": "messages"}.get(one.action)
    if noun is not None and re.fullmatch("[1-9][0-9]{0,4}", one.value) is None:
        yield BadValue("value", f'must be the number of {noun} for action = "{one.action}", such as 1')
    if one.action == "slow":
        try:
            if parse_rate(one.value, "value") <= 0:
                yield BadValue("value", 'must be more than 0; write action = "pause" to let no mail leave')
        except BadValue as error:
            yield error


def limit_order(
    reaction: Reaction, site: str, pool: str, ip: str, now: int, replies: Sequence[str], was: LimitOrder | None = None
) -> LimitOrder | None:
    """The order of a reaction at `now` (Unix ms) by the replies that caused it; `was` is the one that stands. None:
    another process has just given it."""
    if was is not None and was.until > now and now - was.since < min(_LEAST_REPEAT_MS, reaction.for_ms // 2):
        return None
    return LimitOrder(
        site=site,
        pool=pool,
        ip=ip,
        closed=reaction.closed,
        connections=reaction.connections,
        messages_per_minute=reaction.messages_per_minute,
        messages_per_connection=reaction.messages_per_connection,
        since=now,
        until=now + reaction.for_ms,
        eases_ms=reaction.for_ms,
        by=author_of(reaction.name),
        reason=reason(reaction, replies),
        reaction=reaction.name,
    )


def reason(reaction: Reaction, replies: Sequence[str]) -> str:
    """The reason that an order names: the threshold, and the last of the replies that reached it."""
    several = list(dict.fromkeys(replies))[:_SHOWN]
    window = format_duration(reaction.window_ms / 1000)
    words = f"{reaction.needed} replies within {window}: {' | '.join(several)}"
    return visible(words).encode()[:_REASON_AT_MOST].decode("utf-8", "ignore")


def reply_text(reply: Reply) -> str:
    """The reply as a reason shows it."""
    return " ".join(part for part in (str(reply.code), reply.enhanced, reply.text) if part)[:160]
