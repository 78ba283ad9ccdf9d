"""Bounces that suppress an address, and all the others, which never do."""

import pytest
from msgspec.structs import replace

from mta.model.events import Event, EventType
from mta.model.outcomes import Forced, Origin, Stage
from mta.model.replies import ALIASES, Fault
from mta.model.status import Reason
from mta.model.suppressions import SuppressionKey
from mta.policy.auto_suppressions import suppression_by

AT = 1_700_000_000_000
DAY = 86_400_000
BOUNCE = Event(
    EventType.BOUNCE, AT, recipient="Anna@X.test", tenant="acme", code=550, enhanced="5.1.1", text="no such user",
    origin=Origin.REMOTE, category="bad_mailbox", fault="recipient",
)  # fmt: skip


@pytest.mark.parametrize(
    ("category", "code", "enhanced", "days"),
    [
        ("bad_mailbox", 550, "5.1.1", 0),
        ("bad_mailbox", 554, "", 0),
        ("bad_mailbox", 550, "5.1.10", 0),
        ("inactive_mailbox", 550, "5.2.1", 0),
        ("quota", 552, "5.2.2", 7),
        ("bad_domain", 556, "5.1.10", 30),
    ],
)
def test_a_bounce_by_fault_of_the_recipient_suppresses_the_address(category, code, enhanced, days) -> None:
    found = suppression_by(replace(BOUNCE, category=category, code=code, enhanced=enhanced))
    assert found is not None
    assert found.key == SuppressionKey("anna@x.test", "acme", "")
    assert (found.value.reason, found.value.created_at) == (Reason.HARD_BOUNCE, AT)
    assert found.value.expires_at == (AT + days * DAY if days else 0)
    assert found.value.note == " ".join(filter(None, (str(code), enhanced, "no such user")))


@pytest.mark.parametrize("fault", [*(fault for fault in Fault if fault is not Fault.RECIPIENT), ""])
@pytest.mark.parametrize("category", [*ALIASES, ""])
def test_no_other_fault_ever_does(fault: str, category: str) -> None:
    assert suppression_by(replace(BOUNCE, fault=fault, category=category)) is None


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind is not EventType.BOUNCE])
def test_no_other_event_ever_does(kind: EventType) -> None:
    assert suppression_by(replace(BOUNCE, type=kind)) is None


@pytest.mark.parametrize(
    "more",
    [
        {"origin": Origin.FORCED},
        {"origin": Origin.LOCAL},
        {"origin": None},
        {"forced": Forced("r1", 1, Stage.ATTEMPT)},
        {"code": 450},
        {"code": 0},
        {"enhanced": "5.1.2"},
        {"enhanced": "5.1.4"},
        {"category": "spam_content"},
        {"category": ""},
    ],
    ids=str,
)
def test_nor_does_a_forced_error_a_doubt_or_a_refusal_of_the_message(more) -> None:
    assert suppression_by(BOUNCE) is not None
    assert suppression_by(replace(BOUNCE, **more)) is None


def test_a_reply_is_shown_as_it_prints() -> None:
    found = suppression_by(replace(BOUNCE, text="no\r\nsuch \u202euser " + "x" * 500))
    assert found is not None
    assert found.value.note.isprintable()
    assert len(found.value.note) <= 200
