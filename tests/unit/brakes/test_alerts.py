"""Alerts: one mail of the node itself, which nothing answers."""

import email
import email.policy

import pytest

from mta.brakes.alerts import MailedAlerts
from mta.model.outcomes import Reply
from mta.ports.admission import Done, Submission

ACCEPTED = Reply(250, "2.0.0", "queued")


class Submissions:
    def __init__(self, reply: Reply | None, refusal: Reply | None = None) -> None:
        self.reply = reply
        self.refusal = refusal
        self.got: list[Submission] = []

    def submit(self, submission: Submission, done: Done) -> Reply | None:
        self.got.append(submission)
        if self.refusal is None:
            done(self.reply)
        return self.refusal


async def test_the_mail_goes_to_all_addresses_from_the_null_sender() -> None:
    submissions = Submissions(ACCEPTED)
    alerts = MailedAlerts(submissions, ("a@ops.test", "b@ops.test"), "n1", "mta.test", lambda: 0.0)
    assert await alerts.send("brake pulled: grün", ("one", "two")) is True
    (sent,) = submissions.got
    assert (sent.sender, sent.recipients) == ("", ("a@ops.test", "b@ops.test"))
    assert b"\n" not in sent.content.replace(b"\r\n", b"")
    mail = email.message_from_bytes(sent.content, policy=email.policy.default)
    assert mail["Subject"] == "[Floodgate n1] brake pulled: grün"
    assert mail["From"] == "Floodgate <floodgate@mta.test>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().splitlines() == ["one", "two"]
    assert not [name for name in mail if name.lower().startswith("x-mq-")]


async def test_nobody_to_tell_is_no_mail() -> None:
    submissions = Submissions(ACCEPTED)
    assert await MailedAlerts(submissions, (), "n1", "n1").send("x", ()) is True
    assert submissions.got == []


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [(Reply(451, "4.3.0", "away"), None), (None, None), (ACCEPTED, Reply(421, "4.3.2", "shutting down"))],
)
async def test_a_mail_that_was_not_accepted_is_to_be_sent_again(reply: Reply | None, refusal: Reply | None) -> None:
    assert await MailedAlerts(Submissions(reply, refusal), ("a@ops.test",), "n1", "n1").send("x", ("y",)) is False
