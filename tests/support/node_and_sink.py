"""A node on a server of its own with its destination: the one fixture of scenarios that need nothing else."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, TypeVar

from tests.support.node import Node, running, until
from tests.support.one_way import steps_back
from tests.support.recount import assert_balanced
from tests.support.sink import Received
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

# Failures of sessions are noticed in seconds, and deferred mail stays deferred until the test ends.
SETTINGS: dict[str, Any] = {"delivery__lease": "5s", "delivery__retries": ["1h"], "rules__max_staleness": "1s"}


class NodeAndSink:
    """Tests of a module share it and keep apart by domain and tag. A scenario that asks for more derives from it."""

    def __init__(self, folder: pathlib.Path, *, embedded: bool = False, **sets: Any) -> None:
        """`embedded`: the node runs its own server. `sets` go over SETTINGS, as for `Node`."""
        self._folder = folder
        self._sets = SETTINGS | sets
        self._stack = contextlib.ExitStack()
        self.sink = SinkThread()
        self.valkey = None if embedded else Valkey(folder / "valkey")
        self.node: Node

    def start(self) -> None:
        with contextlib.ExitStack() as stack:
            sets = self.destinations(stack) | self._sets
            if self.valkey is not None:
                stack.enter_context(running(self.valkey))
            self.node = Node(self._folder / "n1", redis=self.valkey.url if self.valkey else "", **sets)
            stack.enter_context(running(self.node))
            self._stack = stack.pop_all()

    def destinations(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        """Starts what mail is delivered to; the settings that lead there."""
        stack.enter_context(running(self.sink))
        return {"delivery__route": self.sink.address}

    def stop(self) -> None:
        self._stack.close()

    @property
    def api(self) -> str:
        return str(self.node.ready["api"])

    def call(self, method: str, path: str, body: Any = None, want: tuple[int, ...] = (200, 201)) -> Any:
        status, answer = self.node.call(method, path, body)
        if status == 503 and method == "GET" and 503 not in want:  # a busy machine's store may be late with its answer
            status, answer = until(lambda: (said := self.node.call(method, path, body))[0] != 503 and said)
        assert status in want, (status, answer)
        return answer

    def order(
        self, goal: str = "effective", wait: str = "50s", want: tuple[int, ...] = (200, 201), **rule: Any
    ) -> dict[str, Any]:
        """The rule as POST answered it; every process has confirmed it."""
        answer: dict[str, Any] = self.call("POST", f"/v1/errors?wait={wait}&until={goal}", {"code": 554} | rule, want)
        assert answer["effective"], answer
        return answer

    def edit(self, rule: dict[str, Any], goal: str = "effective", **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("PATCH", f"/v1/errors/{rule['id']}?wait=50s&until={goal}", fields)
        assert answer["effective"], answer
        return answer

    def lift(self, *rules: dict[str, Any]) -> None:
        for rule in rules:
            answer = self.call("DELETE", f"/v1/errors/{rule['id']}?wait=50s", want=(200,))
            assert answer["effective"], answer

    def account(self, rule: dict[str, Any]) -> dict[str, Any]:
        """The rule's statement so far."""
        found: dict[str, Any] = self.call("GET", f"/v1/errors/{rule['id']}/statement")
        return found

    def complete(self, rule: dict[str, Any]) -> dict[str, Any]:
        """The rule's statement once its sweep is done; it never says that it does not balance."""

        def look() -> dict[str, Any] | None:
            found = self.account(rule)
            over = found["complete"] is not False  # null: no sweep belongs to the rule
            assert found["balanced"] in ((True,) if over else (None, True)), found
            return found if over else None

        return until(look, what=f"the sweep of {rule} is not done")

    def rests(self, tag: str, *, within: float = 60.0, **classes: int) -> dict[str, Any]:
        """The tag's statement once it says so much; it balances."""
        found: dict[str, Any] = {}

        def look() -> bool:
            found.update(self.node.statement(tag))
            return all(found[name] == count for name, count in classes.items())

        until(look, within, lambda: f"{tag} has not {classes}: {found}")
        assert found["balanced"], found
        return found

    def log_of(self, tag: str, kind: str = "") -> list[dict[str, Any]]:
        """The tag's lines of that type, or of any."""
        return [e for e in self.node.events() if tag in e.get("tags", ()) and (not kind or e["type"] == kind)]

    def logged(self, tag: str, kind: str, count: int) -> list[dict[str, Any]]:
        """The tag's lines of that type, once there are as many; never more."""
        until(lambda: len(self.log_of(tag, kind)) >= count, what=f"{kind} of {tag}")
        found = self.log_of(tag, kind)
        assert len(found) == count, found
        return found

    def taken(self, domain: str) -> list[Received]:
        """The messages that the destination took for recipients at the domain, in order."""
        return [received for received in self.sink.to(domain) if received.taken]

    def arrived(self, domain: str) -> list[str]:
        """The recipients at the domain whose mail was taken, in order."""
        taken = [address for received in self.taken(domain) for address in received.recipients]
        return [address for address in taken if address.endswith("@" + domain)]


Kind = TypeVar("Kind", bound=NodeAndSink)


@contextlib.contextmanager
def shared(place: Kind) -> Iterator[Kind]:
    """The place while it runs; at the end its books must balance, and no delivery has moved to a lower status."""
    with running(place):
        yield place
        assert_balanced(place.node.ready["redis"])
        assert steps_back(place.node.events()) == []
