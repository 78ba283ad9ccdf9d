"""Attempts at which nobody knows whether the message was taken, or at which the server did not speak the protocol."""

import msgspec
import pytest

from mta.model.destination_settings import SiteSettings
from mta.model.endings import Final
from mta.model.events import Event, EventType
from mta.model.outcomes import Class, Origin, Outcome, Reply, Verdict
from mta.policy.shaping import Shaping
from mta.policy.simulation import played
from mta.ports.queueing import Move
from mta.scheduling.settlement import Terms, decide, expire
from tests.support.scheduling import NOW, SETTINGS, a_claim

TERMS = Terms("n1", SETTINGS.delivery, Shaping(SETTINGS))
DELIVERED = Outcome(Verdict.DELIVERED, Reply(250, "2.0.0", "ok"), Origin.REMOTE, mta="192.0.2.1")
REFUSED = Outcome(Verdict.PERMANENT, Reply(550, "5.1.1", "no"), Origin.REMOTE, mta="192.0.2.1")
LOST = Outcome(Verdict.TEMPORARY, Reply(451, "4.4.2", "lost"), Origin.LOCAL, mta="192.0.2.1", uncertain=True)
NONSENSE = Outcome(Verdict.TEMPORARY, Reply(451, "4.5.0", "hola"), Origin.LOCAL, mta="192.0.2.1", unintelligible=True)


def event(raw: bytes) -> Event:
    return msgspec.msgpack.decode(raw, type=Event)


def final(raw: bytes) -> Final:
    return msgspec.msgpack.decode(raw, type=Final)


@pytest.mark.parametrize(("known", "attempts"), [(0, 0), (1, 1), (1, 7)])
def test_d8_a_server_that_speaks_nonsense_is_tried_again_at_first(known: int, attempts: int) -> None:
    change = decide(a_claim(unintelligible=known, attempts=attempts), NONSENSE, NOW, TERMS, 0.5)
    assert change.move is Move.QUEUE
    assert change.record is not None
    assert change.record.unintelligible == known + 1


def test_d8_the_third_time_it_bounces_with_the_bytes_of_the_server() -> None:
    change = decide(a_claim(unintelligible=2, attempts=5), NONSENSE, NOW, TERMS, 0.5)
    assert (change.move, change.ended) == (Move.END, Class.BOUNCED)
    told = event(change.event)
    assert (told.type, told.code, told.enhanced, told.text) == (EventType.BOUNCE, 554, "5.5.0", "hola")
    assert final(change.final).reply == Reply(554, "5.5.0", "hola")


def test_c103_a_failure_without_a_connection_counts_no_attempt() -> None:
    untried = msgspec.structs.replace(LOST, uncertain=False, untried=True)
    change = decide(a_claim(attempts=1, max_attempts=2), untried, NOW, TERMS, 0.5)
    assert change.record is not None
    assert (change.record.attempts, change.record.last) == (1, Reply(451, "4.4.2", "lost"))
    assert (event(change.event).type, event(change.event).attempt) == (EventType.TRANSIENT_FAILURE, 1)
    over = decide(a_claim(attempts=1, expires_at=NOW + 1), untried, NOW, TERMS, 0.5)
    assert (over.ended, final(over.final).attempts) == (Class.EXPIRED, 1)


def test_c103_the_schedule_of_the_site_holds() -> None:
    settings = msgspec.structs.replace(SETTINGS, sites={"big": SiteSettings(retries=(7.0,))})
    terms = Terms("n1", settings.delivery, Shaping(settings), site_of={"example.com": "big"}.get)
    claim = a_claim()
    assert claim.queue.domain == "example.com"
    assert decide(claim, LOST, NOW, terms, 0.5).due_at == NOW + 7000


def test_d8_other_attempts_do_not_count_towards_it() -> None:
    change = decide(a_claim(unintelligible=2), LOST, NOW, TERMS, 0.5)
    assert change.record is not None
    assert change.record.unintelligible == 2


def test_d8_nonsense_after_the_dot_bounces_in_doubt() -> None:
    outcome = msgspec.structs.replace(NONSENSE, uncertain=True)
    change = decide(a_claim(unintelligible=2), outcome, NOW, TERMS, 0.5)
    assert (change.uncertain, event(change.event).uncertain, final(change.final).uncertain) == (True, True, True)


@pytest.mark.parametrize(
    ("claim", "outcome", "doubt"),
    [
        (a_claim(max_attempts=1), LOST, True),
        (a_claim(max_attempts=2, attempts=1, uncertain=True), NONSENSE, True),
        (a_claim(uncertain=True), REFUSED, True),
        (a_claim(reclaims=1), REFUSED, True),
        (a_claim(), REFUSED, False),
        (a_claim(uncertain=True), DELIVERED, False),
    ],
)
def test_d11_log_and_record_of_an_end_say_whether_it_may_have_arrived(claim, outcome, doubt) -> None:
    change = decide(claim, outcome, NOW, TERMS, 0.5)
    assert change.move is Move.END
    assert (change.uncertain, event(change.event).uncertain, final(change.final).uncertain) == (doubt, doubt, doubt)


@pytest.mark.parametrize(
    ("address", "reply", "category"),
    [
        ("anyone@simulate.invalid", None, ""),
        ("Bounce+7@simulate.invalid", Reply(550, "5.1.1", "no such mailbox (simulated)"), "bad_mailbox"),
        ("bouncer@simulate.invalid", None, ""),
    ],
)
def test_a_simulated_delivery_ends_with_the_played_reply(address: str, reply: Reply | None, category: str) -> None:
    claim = a_claim(recipient=address)
    change = decide(claim, played(claim.record, True), NOW, TERMS, 0.5)
    assert (change.move, change.ended, change.uncertain) == (Move.END, Class.SIMULATED, False)
    told = event(change.event)
    assert (told.type, told.category, told.origin, told.attempt) == (EventType.SIMULATED, category, Origin.LOCAL, 1)
    assert (final(change.final).reply, final(change.final).attempts) == (reply, 1)


@pytest.mark.parametrize("address", ["defer@simulate.invalid", "stall@simulate.invalid"])
def test_a_simulated_deferral_goes_by_the_schedule_and_never_expires_otherwise(address: str) -> None:
    claim = a_claim(recipient=address)
    change = decide(claim, played(claim.record, True), NOW, TERMS, 0.5)
    assert (change.move, event(change.event).type) == (Move.QUEUE, EventType.TRANSIENT_FAILURE)
    last = a_claim(recipient=address, max_attempts=1)
    assert decide(last, played(last.record, True), NOW, TERMS, 0.5).ended is Class.SIMULATED
    assert played(claim.record, False).verdict is Verdict.SIMULATED, "another domain plays nothing"


@pytest.mark.parametrize("doubt", [True, False])
def test_d11_an_expiration_without_an_attempt_says_it_too(doubt: bool) -> None:
    change = expire(a_claim(uncertain=doubt), NOW, TERMS)
    assert (event(change.event).uncertain, final(change.final).uncertain) == (doubt, doubt)


def test_d11_a_deferral_says_it_as_well() -> None:
    assert event(decide(a_claim(), LOST, NOW, TERMS, 0.5).event).uncertain
    assert event(decide(a_claim(uncertain=True), NONSENSE, NOW, TERMS, 0.5).event).uncertain
    assert not event(decide(a_claim(), NONSENSE, NOW, TERMS, 0.5).event).uncertain
