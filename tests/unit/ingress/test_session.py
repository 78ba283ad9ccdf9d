"""One session without a socket: its phases on the way to the end, and the reasons for which it reads no input."""

import pytest

from mta.ingress.input_budget import ALWAYS, HEAVY, InputBudget
from mta.ingress.session import CLOSING_TIME, SessionPhase, SmtpSession
from mta.model.outcomes import Reply
from mta.model.settings import SmtpSettings
from mta.smtp.server_session import Limits, Trust

QUEUED = Reply(250, "2.0.0", "queued")
SEND = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
END = b"\r\n.\r\n"


class Owner:
    """A listener and its admission: submissions wait in `waiting`, with their callbacks."""

    def __init__(self, budget=None):
        self.settings = SmtpSettings()
        self.hostname = "mx.example.org"
        self.limits = Limits(10_000_000, 100, 20)
        self.admission = self.submissions = self
        self.input_budget = budget or InputBudget()
        self.waiting, self.gone = [], []

    def refusal(self):
        return None

    def submit(self, submission, done):
        self.waiting.append((submission, done))
        return Reply(550, "5.6.0", "bad") if b"bad" in submission.content else None

    def session_closed(self, session):
        self.gone.append(session)


class Transport:
    def __init__(self):
        self.output, self.reads, self.closed, self.aborted = b"", True, False, False

    def write(self, data):
        self.output += data

    def pause_reading(self):
        assert self.reads
        self.reads = False

    def resume_reading(self):
        assert not self.reads
        self.reads = True

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True


TRUSTED = Trust(may_relay=True)


def begin(owner=None, trust=TRUSTED):
    owner, transport = owner or Owner(), Transport()
    session = SmtpSession(owner, "192.0.2.1", trust, lambda: 0.0)
    session.connection_made(transport)
    session.data_received(b"EHLO c\r\n")
    return owner, session, transport


def last_codes(transport, count):
    return [int(line[:3]) for line in transport.output.split(b"\r\n")[:-1] if line[3:4] == b" "][-count:]


def test_a_submission_names_the_client_and_the_protocol_of_its_greeting():
    owner, session, _ = begin()
    session.data_received(SEND + b"A: b\r\n\r\n1" + END)
    owner.waiting[-1][1](QUEUED)
    session.data_received(b"HELO d\r\n" + SEND + b"A: b\r\n\r\n2" + END)
    first, second = (submission for submission, _ in owner.waiting)
    assert (first.requester.address, first.requester.name, first.requester.protocol) == ("192.0.2.1", "c", "ESMTP")
    assert (second.requester.name, second.requester.protocol) == ("d", "SMTP")
    assert (second.sender, second.recipients, second.content) == ("a@b", ("c@d",), b"A: b\r\n\r\n2\r\n")


def test_a_session_without_trust_gets_it_when_its_trust_is_replaced():
    _, session, transport = begin(trust=Trust(may_relay=False))
    session.data_received(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert last_codes(transport, 1) == [550]
    session._machine.trust = Trust(may_relay=True)
    session.data_received(b"RCPT TO:<c@d>\r\n")
    assert last_codes(transport, 1) == [250]


def test_the_reply_to_the_last_message_of_a_client_that_ended_its_side_closes():
    owner, session, transport = begin()
    session.data_received(SEND + b"x" + END)
    assert session.eof_received()
    assert session._phase is SessionPhase.INPUT_ENDED
    owner.waiting[-1][1](QUEUED)
    assert last_codes(transport, 1) == [250]
    assert transport.closed
    assert session._phase is SessionPhase.CLOSING


@pytest.mark.parametrize("ended", [False, True])
def test_a_draining_session_ends_after_its_message(ended):
    owner, session, transport = begin()
    session.data_received(SEND + b"x" + END)
    if ended:
        assert session.eof_received()
    session.drain()
    assert session._phase is SessionPhase.DRAINING
    owner.waiting[-1][1](QUEUED)
    assert last_codes(transport, 2) == [250, 421]
    assert transport.closed


@pytest.mark.parametrize("ended", [False, True])
def test_a_draining_session_ends_although_the_message_that_follows_is_refused(ended):
    owner, session, transport = begin()
    session.data_received(SEND + b"x" + END + SEND + b"bad" + END)
    if ended:
        assert session.eof_received()
    session.drain()
    owner.waiting[-1][1](QUEUED)
    assert last_codes(transport, 6) == [250, 250, 250, 354, 550, 421]
    assert transport.closed


def test_a_client_that_does_not_read_the_last_reply_is_dropped():
    _, session, transport = begin()
    session.data_received(b"QUIT\r\n")
    session.check(CLOSING_TIME - 0.1)
    assert (transport.closed, transport.aborted) == (True, False)
    session.check(CLOSING_TIME)
    assert transport.aborted


def test_input_flows_again_when_each_reason_for_the_pause_is_over():
    owner, session, transport = begin()
    session.data_received(SEND + b"x" + END)
    session.pause_writing()
    session.data_received(SEND + b"y" * (HEAVY + 10))
    assert not transport.reads
    session.resume_writing()
    assert not transport.reads  # the message has no reply yet
    owner.waiting[-1][1](QUEUED)
    assert transport.reads


def test_a_session_that_the_budget_stopped_reads_on_when_its_input_is_used_up():
    """The reply to one message lets the machine take the next, so the session keeps little: nobody else tells it."""
    owner = Owner(InputBudget(most=ALWAYS * (HEAVY + 1)))
    for _ in range(ALWAYS):
        other = begin(owner)[1]
        other.data_received(SEND + b"x" * (HEAVY + 1))
    _, session, transport = begin(owner)
    session.data_received(SEND + b"x" + END)
    session.data_received(SEND + b"y" * (HEAVY + 10) + END)
    assert not transport.reads
    owner.waiting[-1][1](QUEUED)
    assert len(owner.waiting) == 2
    assert transport.reads


def test_a_lost_connection_is_reported_and_gives_its_input_back():
    owner, session, _ = begin()
    session.data_received(SEND + b"x" * (HEAVY + 1))
    assert owner.input_budget._sum > HEAVY
    session.connection_lost(None)
    assert (owner.gone, owner.input_budget._sum) == ([session], 0)
    assert "closed" in repr(session)
