"""The statement of a rule in sentences: three say what became of the mail, two more say what is still open."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType

from mta.model.statements import RuleStatement
from mta.model.text import visible

_SELECTORS: Final = (
    "pool", "mta", "domain", "site", "ip", "mx", "tag", "tags_all", "except_tags", "tenant", "sender", "recipient",
    "accepted_before", "accepted_after", "schedule", "timezone", "node",
)  # fmt: skip


def sentences_of(statement: RuleStatement) -> list[str]:
    """At most five, in order; times are UTC."""
    found = [_account(statement), _effect(statement), _balance(statement), _open(statement), _undo(statement)]
    return [sentence for sentence in found if sentence]


def selectors_text(rule: Mapping[str, Any], otherwise: str) -> str:
    """The selectors of a rule as `name=value`, by the names of its record."""
    given = [(name, rule[name]) for name in _SELECTORS if rule.get(name, UNSET) is not UNSET]
    return " ".join(f"{name}={_value(value)}" for name, value in given) or otherwise


def _value(value: Any) -> str:
    return visible(value) if isinstance(value, str) else ", ".join(map(visible, value))


def _account(said: RuleStatement) -> str:
    """The order, and the classes that people ask for."""
    code = 0 if said.code is UNSET else said.code
    had = said.delivered.after + (0 if said.delivered.before is UNSET else said.delivered.before)
    stopped = _stopped(said)
    undecided = said.queued + (0 if _defers(code) else said.deferred) + (said.held if code else 0)
    whole, noun = (said.matched, "met") if said.accepted is UNSET else (said.accepted, "accepted")
    parts = [f"{whole:,} {noun}", f"{had:,} had it", f"{stopped:,} {_participle(code)}", f"{undecided:,} undecided"]
    others = whole - had - stopped - undecided
    if others > 0:
        parts.append(f"{others:,} others (ended otherwise, undone, or left alone)")
    return f"{_subject(said)}, {_order(said, code)}: {', '.join(parts)}."


def _subject(said: RuleStatement) -> str:
    rule = {name: getattr(said, name) for name in _SELECTORS}
    given = [name for name, value in rule.items() if value is not UNSET]
    if given == ["tag"] and said.accepted is not UNSET and said.tag is not UNSET:
        return f"Campaign {visible(said.tag)}"
    chosen = selectors_text(rule, "")
    return f"Mail with {chosen}" if chosen else "All mail"


def _order(said: RuleStatement, code: int) -> str:
    verb = {0: "held since", 2: "discarded", 4: f"deferred with {code} since", 5: "canceled"}[code // 100]
    at = "" if said.created_at is UNSET else f" {_clock(said.created_at, said.as_of)}"
    by = "" if said.created_by is UNSET else f" by {visible(said.created_by)}"
    why = "" if said.reason is UNSET else f" ({visible(said.reason)})"
    return f"{verb}{at}{by}{why}"


def _stopped(said: RuleStatement) -> int:
    """The deliveries that the rule keeps from their recipients now."""
    code = 0 if said.code is UNSET else said.code
    caught = said.intercepted
    ended = caught.queued + caught.attempt + caught.before_dot + caught.door
    if not code:
        return ended + said.held
    return ended + said.deferred if _defers(code) else ended


def _defers(code: int) -> bool:
    return 400 <= code < 500


def _participle(code: int) -> str:
    return "held" if not code else "deferred" if _defers(code) else "stopped"


def _effect(said: RuleStatement) -> str:
    noun = "rule" if said.code is not UNSET else "pause"
    if said.removed_at is not UNSET:
        return f"The {noun} was removed {_clock(said.removed_at, said.as_of)} and meets no more mail."
    if not said.enabled:
        return f"The {noun} is disabled and meets no more mail."
    if said.expires_at is not UNSET and said.expires_at <= said.as_of:
        return f"The {noun} ended {_clock(said.expires_at, said.as_of)} and meets no more mail."
    if said.effective_at is None:
        return f"The {noun} is not effective everywhere yet."
    late = said.delivered.after
    then = f"; {late:,} whose final dot had been sent before were delivered" if late else ""
    times = "" if said.schedule is UNSET else f"; it holds mail at the times of its schedule ({said.timezone})"
    return f"The {noun} is effective on every node since {_clock(said.effective_at, said.as_of)}{then}{times}."


def _balance(said: RuleStatement) -> str:
    if said.balanced is False:
        return "The account does not balance: the classes do not add up to the deliveries that the rule met."
    if said.why_incomplete is not UNSET:
        return f"The account is not complete: {said.why_incomplete}."
    if said.accepted is not UNSET and said.matched > said.accepted:
        return "The account balances; it counts a delivery each time that the rule, ordered or enabled again, met it."
    return "The account balances." if said.balanced else ""


def _open(said: RuleStatement) -> str:
    """The deliveries whose end is not known."""
    parts = [
        f"{count:,} {words}"
        for count, words in (
            (said.queued, "queued"),
            (said.deferred, "deferred"),
            (said.held, "held"),
            (said.uncertain, "uncertain (ended, but may have reached the recipient)"),
        )
        if count
    ]
    return f"Still open: {', '.join(parts)}." if parts else "Nothing is open."


def _undo(said: RuleStatement) -> str:
    undone = f"{said.undone:,} were undone and returned to their queues" if said.undone else ""
    until = "" if said.undo_until is UNSET else f" until {_clock(said.undo_until, said.as_of)}"
    can = f"{said.undoable:,} can be undone{until}" if said.undoable else ""
    return f"{'; '.join(filter(None, (undone, can)))}." if undone or can else ""


def _clock(at: str | UnsetType, today: str) -> str:
    """The time of day, behind its date where that is another than the statement's."""
    assert isinstance(at, str)
    day, _, rest = at.partition("T")
    return rest[:8] if day == today[:10] else f"{day} {rest[:8]}"
