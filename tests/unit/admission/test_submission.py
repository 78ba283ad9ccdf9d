"""From a message as it was handed in to the one that is accepted, whatever protocol brought it."""

from mta.admission.once import OncePerKey
from mta.admission.submission import MAX_RECEIVED, TrustedSubmissions
from mta.model.ids import message_text, new_message_id
from mta.model.injection import Hold
from mta.model.mail import NewMessage, Recipient
from mta.model.outcomes import Reply
from mta.ports.admission import Requester, Submission
from tests.support.intake import make_settings

NOW = 1_700_000_000_000
ID = new_message_id(3, NOW)
CLIENT = Requester("192.0.2.7")


class Admission:
    """Prepares at once, under one id, and remembers the result."""

    def __init__(self):
        self.prepared = []

    def refusal(self):
        return None

    def admit(self, prepare, done, lane=None):
        self.prepared.append((prepare(ID, NOW), done, lane))
        return self.prepared[-1][0] if isinstance(self.prepared[-1][0], Reply) else None


def handed_in(admission, submission):
    once = OncePerKey(admission, 4, 86400.0, lambda: True)
    return TrustedSubmissions(make_settings(), admission, once=once, clock=lambda: NOW / 1000).submit(submission, print)


def submit(content, requester=CLIENT, sender="a@b.test", to=("c@d.test",), hold=None):
    admission = Admission()
    answer = handed_in(admission, Submission(requester, sender, to, content, hold))
    [(made, done, lane)] = admission.prepared
    assert (done, lane) == (print, None)
    return made, answer


def test_the_headers_that_a_message_asks_with_are_taken_out_and_obeyed():
    made, answer = submit(b"X-MQ-Tag: red\r\nX-MQ-Tenant: acme\r\nX-MQ-Pool: gold\r\nA: b\r\n\r\nbody\r\n")
    assert answer is None
    assert isinstance(made, NewMessage)
    assert (made.id, made.sender, made.recipients) == (ID, "a@b.test", (Recipient("c@d.test", "d.test"),))
    assert (made.tags, made.tenant, made.pool, made.client) == (("red",), "acme", "gold", "192.0.2.7")
    assert (made.accepted_at, made.due_at, made.needs_8bit) == (NOW, NOW, False)
    trace, _, rest = made.content.partition(b"A: b")
    assert rest == b"\r\n\r\nbody\r\n"
    assert trace.startswith(b"Received: from unknown ([192.0.2.7])")
    assert message_text(ID).encode() in trace


def test_the_trace_header_says_how_the_client_called_itself_and_the_protocol():
    made, _ = submit(b"A: b\r\n\r\n", Requester("2001:db8::1", "client.test", "ESMTP"))
    assert made.content.startswith(b"Received: from client.test ([IPv6:2001:db8::1])")
    assert b"with ESMTP" in made.content


def test_a_header_may_name_another_sender_and_none():
    assert submit(b"X-MQ-Envelope: x@y.test\r\n\r\n")[0].sender == "x@y.test"
    assert submit(b"X-MQ-Envelope: <>\r\n\r\n")[0].sender == ""


def test_what_cannot_be_obeyed_and_what_goes_in_circles_is_refused_at_once():
    made, answer = submit(b"X-MQ-Pool: no such name!\r\n\r\n")
    assert made is answer
    assert (answer.code, answer.enhanced) == (550, "5.6.0")
    assert submit(b"Received: x\r\n" * MAX_RECEIVED + b"\r\n")[1].code == 554
    assert submit(b"Received: x\r\n" * (MAX_RECEIVED - 1) + b"\r\n")[1] is None


def test_octets_beyond_ascii_are_marked():
    assert submit("A: ä\r\n\r\n".encode())[0].needs_8bit


def test_mail_asks_for_its_release_by_a_parameter_or_by_a_header():
    assert submit(b"A: b\r\n\r\n", hold=Hold("HOLDFOR", seconds=90))[0].due_at == NOW + 90_000
    assert submit(b"A: b\r\n\r\n", hold=Hold("HOLDUNTIL", until=NOW + 5))[0].due_at == NOW + 5
    both = submit(b"X-MQ-Delayed: +1h\r\n\r\n", hold=Hold("HOLDFOR", seconds=90))[0]
    past = submit(b"A: b\r\n\r\n", hold=Hold("HOLDUNTIL", until=NOW - 601_000))[0]
    late = submit(b"A: b\r\n\r\n", hold=Hold("HOLDUNTIL", until=NOW + 3651 * 86_400_000))[0]
    for reply, field in ((both, "X-MQ-Delayed"), (past, "HOLDUNTIL"), (late, "HOLDUNTIL")):
        assert isinstance(reply, Reply)
        assert (reply.code, reply.enhanced, reply.text.startswith(field)) == (550, "5.6.0", True)
