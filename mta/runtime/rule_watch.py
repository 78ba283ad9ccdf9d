"""The supervisor's watch over its processes' sessions: it logs once that one of them cannot read a rule."""

import logging
from collections.abc import Callable, Collection
from typing import Protocol

from mta.model.rules import Build, SessionState

log = logging.getLogger(__name__)


class Sessions(Protocol):
    """The sessions of all processes of the cluster, and the build that each runs."""

    async def sessions(self) -> dict[str, SessionState]: ...
    async def builds(self) -> dict[str, Build]: ...


class RuleWatch:
    """One line in the log for each unreadable rule, and one when all rules can be read again."""

    def __init__(self, sessions: Sessions, node: str, pids: Callable[[], Collection[int]]) -> None:
        """`pids` are those of the processes that the supervisor runs now."""
        self._sessions = sessions
        self._node = node
        self._pids = pids
        self._told = ""

    async def look(self) -> None:
        """Log what has changed. Raises StoreError."""
        builds = await self._sessions.builds()
        if not self._told and not any(build.unreadable for build in builds.values()):
            return
        sessions, pids = await self._sessions.sessions(), self._pids()
        ours = {name for name, state in sessions.items() if state.node == self._node and state.pid in pids}
        said = sorted({build.unreadable for name, build in builds.items() if name in ours and build.unreadable})
        if said and said[0] != self._told:
            log.error(
                "%s; this node confirms no rules and delivers nothing until the rule is removed from a node that reads "
                "it (a damaged one by HDEL fg:{rules}:table), or this node is upgraded",
                said[0],
            )
        elif not said and self._told:
            log.warning("all rules in the store can be read again: this node delivers")
        self._told = said[0] if said else ""
