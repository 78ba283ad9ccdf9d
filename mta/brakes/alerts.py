"""Alerts: mail of the node itself to the addresses of `alerts.to`, queued like other mail.

The envelope sender is empty and the header says that the mail was generated (RFC 3834 5), so nothing answers it. It has
no tag, so no brake counts it.
"""

import asyncio
import datetime
import logging
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from mta.model.outcomes import Reply
from mta.ports.admission import Requester, Submission, Submissions
from mta.timing.clock import wall_seconds

log = logging.getLogger(__name__)


class MailedAlerts:
    """Fulfils ports.brakes.Alerts."""

    def __init__(
        self,
        submissions: Submissions,
        to: Sequence[str],
        node: str,
        hostname: str,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`hostname` is the domain of the author's address."""
        self._submissions = submissions
        self._to = tuple(to)
        self._node = node
        self._hostname = hostname
        self._clock = clock

    async def send(self, subject: str, lines: Sequence[str]) -> bool:
        if not self._to:
            return True
        answered: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        requester = Requester("127.0.0.1", self._node, "ESMTP")
        submission = Submission(requester, "", self._to, self._mail(subject, lines))
        refusal = self._submissions.submit(submission, answered.set_result)
        reply = refusal if refusal is not None else await answered
        if reply is None or reply.code >= 300:
            log.error("an alert could not be queued: %s", "the store did not answer" if reply is None else reply.text)
            return False
        return True

    def _mail(self, subject: str, lines: Sequence[str]) -> bytes:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = f"Floodgate <floodgate@{self._hostname}>"
        mail["To"] = ", ".join(self._to)
        mail["Subject"] = f"[Floodgate {self._node}] {subject}"
        mail["Date"] = format_datetime(datetime.datetime.fromtimestamp(self._clock(), datetime.UTC))
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n".join(lines))
        return mail.as_bytes()
