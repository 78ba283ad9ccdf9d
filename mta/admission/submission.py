"""From a message as it was handed in to one that can be accepted: injection headers, loops, route, trace header."""

from functools import partial
from typing import Final

from mta.content.header_block import has_received, take_header
from mta.content.injection_headers import read_injection, refuse_strays
from mta.content.trace import trace_header
from mta.model.errors import BadValue
from mta.model.ids import MessageId, message_text
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.model.settings import Settings
from mta.policy.routing import RoutingDefaults, route
from mta.ports.admission import Admission, Done, Submission
from mta.smtp.grammar import parse_mailbox

MAX_RECEIVED: Final = 100  # RFC 5321 6.3

_LOOP: Final = Reply(554, "5.4.6", f"{MAX_RECEIVED} Received headers: the message goes in circles")


class TrustedSubmissions:
    """Fulfils ports.admission.Submissions for clients of trusted networks: they choose pool, tags and times."""

    def __init__(self, settings: Settings, admission: Admission) -> None:
        smtp, delivery = settings.smtp, settings.delivery
        self._admission = admission
        self._hostname = smtp.hostname or settings.node.name
        self._prefixes = tuple(prefix.lower() for prefix in smtp.header_prefixes)
        self._ignored = frozenset(name.lower() for name in smtp.ignore_headers)
        self._defaults = RoutingDefaults(smtp.default_pool, delivery.max_age, delivery.max_attempts)

    def submit(self, submission: Submission, done: Done) -> Reply | None:
        return self._admission.admit(partial(self.prepare, submission), done)

    def prepare(self, submission: Submission, message_id: MessageId, now_ms: int) -> NewMessage | Reply:
        """The message as it will be queued under `message_id`, or its refusal."""
        content = submission.content
        block, asked, rest, strays = take_header(content, self._prefixes)
        if has_received(block, MAX_RECEIVED):
            return _LOOP
        sender = submission.sender
        try:
            if strays:
                refuse_strays(strays, self._prefixes, self._ignored)
            injection = read_injection(asked, self._prefixes, self._ignored, now_ms)
            if injection.sender is not None:
                sender = parse_mailbox(injection.sender, "X-MQ-Envelope") if injection.sender else ""
        except BadValue as bad:
            return Reply(550, "5.6.0", str(bad))
        recipients, requester = submission.recipients, submission.requester
        way = route(recipients, injection, self._defaults, now_ms)
        if isinstance(way, Reply):
            return way
        client = requester.address
        trace = trace_header(
            requester.name, client, self._hostname, requester.protocol, message_text(message_id), recipients, now_ms
        )
        # The rest is copied once, however large.
        content = b"".join((trace, block, memoryview(content)[rest:]))
        return NewMessage(
            id=message_id,
            sender=sender,
            recipients=way.recipients,
            pool=way.pool,
            tags=injection.tags,
            content=content,
            needs_8bit=not content.isascii(),
            accepted_at=now_ms,
            due_at=way.due_at,
            expires_at=way.expires_at,
            max_attempts=way.max_attempts,
            retries=injection.retries,
            client=client,
            properties=injection.properties,
            tenant=injection.tenant,
            priority=injection.priority,
        )
