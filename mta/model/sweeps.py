"""How far the sweep of a rule is, as the store keeps it for every process to see."""

import enum
from typing import NamedTuple


class SweepPhase(enum.StrEnum):
    """The life of one sweep; each phase leads to the next, or to STOPPED."""

    RUNNING = "running"  # a pass is under way
    WAITING = "waiting"  # the last pass begins once the rule is effective everywhere
    DONE = "done"  # the last pass has seen everything
    STOPPED = "stopped"  # the rule was lifted, was edited, or has expired


class SweepState(NamedTuple):
    """One sweep; times are Unix milliseconds."""

    rule: str  # the id of the order: that of its rule, or of its set
    generation: int  # of the last change of the order that is swept
    phase: SweepPhase
    seen: int  # deliveries looked at: those moved by earlier passes, and all of this pass
    matched: int  # of them moved for this rule
    started_at: int
    updated_at: int
    effective_at: int  # 0 = not yet: the last pass has not begun
    owner: str = ""  # the session that sweeps
    share: float = 0.0  # of this pass that is walked, 0 to 1
    unresolved: int = 0  # of its last pass: deliveries that the attempt decides about, since no site is known
