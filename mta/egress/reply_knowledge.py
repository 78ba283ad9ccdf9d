"""The reply book that a worker goes by now, and the replies that it does not know."""

from typing import Final

from mta.model.outcomes import Reply, Verdict
from mta.model.phases import Phase
from mta.model.replies import Known, UnknownReply
from mta.policy.replies import Judged, ReplyBook
from mta.policy.unknown_replies import unknown_reply

MOST_UNKNOWN: Final = 500  # different ones that wait to be told; further ones are not counted


class ReplyKnowledge:
    """All outlets of a worker ask it, for replies that are no success."""

    def __init__(self, book: ReplyBook | None = None) -> None:
        self.book = ReplyBook() if book is None else book
        self._unknown: dict[UnknownReply, int] = {}

    def judge(self, phase: Phase, reply: Reply, host: str) -> Judged:
        """The verdict on a delivery by a reply of this host (`ReplyBook.judge`)."""
        judged = self.book.judge(phase, reply)
        if judged.known is None and judged.verdict is not Verdict.DELIVERED:
            self._note(reply, host)
        return judged

    def find(self, phase: Phase, reply: Reply, host: str) -> Known | None:
        """The knowledge about a reply of this host that kept a transaction from beginning."""
        known = self.book.find(phase, reply)
        if known is None:
            self._note(reply, host)
        return known

    def take_unknown(self) -> dict[UnknownReply, int]:
        """How often each reply without an entry came since the last call."""
        taken, self._unknown = self._unknown, {}
        return taken

    def _note(self, reply: Reply, host: str) -> None:
        unknown = unknown_reply(reply, host)
        count = self._unknown.get(unknown, 0)
        if count or len(self._unknown) < MOST_UNKNOWN:
            self._unknown[unknown] = count + 1
