"""All kinds at once against one Floodgate node: a domain and a listener for each."""

import pathlib
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.destinations.kinds import Kind
from tests.support.certificates import self_signed
from tests.support.node import Node, running, until
from tests.support.scripted_peer import Peers, ScriptedPeer

ATTEMPTS = 3
LINE = "0123456789" * 7 + "\r\n"
LARGE = LINE * 70_000  # 5 MB
_WITHIN = 100.0
_ENDS = {"Delivery": "Delivery", "Bounce": "Bounce", "Expiration": "TransientFailure"}


class Ended(NamedTuple):
    """How a delivery ended, and what its destination got. `text` is the last reply or our own words."""

    ends: str
    code: int
    copies: int
    attempts: int
    text: str


def peers_for(kinds: Sequence[Kind], folder: pathlib.Path) -> dict[str, ScriptedPeer]:
    context: ssl.SSLContext = self_signed(folder)
    return {
        kind.name: ScriptedPeer(
            kind.script, later=kind.later, extensions=kind.offers, tls=context if kind.tls else None
        )
        for kind in kinds
    }


def run(kinds: Sequence[Kind], folder: pathlib.Path) -> dict[str, Ended]:
    """Start the node, send one message to each kind, and wait for the last end."""
    peers = peers_for(kinds, folder)
    with running(Peers(*peers.values())):
        routes = ", ".join(f'"{name}.test" = "{peer.address}"' for name, peer in peers.items())
        node = Node(
            folder / "node",
            delivery__routes=f"{{{routes}}}",
            delivery__retries=["1s"],
            delivery__max_attempts=ATTEMPTS,
            delivery__greeting_timeout="4s",
            delivery__command_timeout="4s",
            delivery__data_timeout="4s",
            delivery__dot_timeout="4s",
            delivery__idle_timeout="200ms",
        )
        with running(node):
            with node.client() as client:
                for kind in kinds:
                    node.send_on(client, f"a@{kind.name}.test", text=LARGE if kind.large else "hello")
            lines = until(lambda: _all_ended(node, kinds), _WITHIN, "some deliveries have no end")
            assert "Traceback" not in node.errors(), node.errors()
        return {
            name: Ended(_ENDS[line["type"]], line["code"], len(peers[name].copies), line["attempt"], line["text"])
            for name, line in lines.items()
        }


def _all_ended(node: Node, kinds: Sequence[Kind]) -> dict[str, dict[str, Any]] | None:
    lines = {line["domain"].removesuffix(".test"): line for line in node.events() if line["type"] in _ENDS}
    return lines if len(lines) == len(kinds) else None


def disagreements(kinds: Sequence[Kind], found: dict[str, Ended]) -> list[str]:
    """Kinds that ended otherwise than they are to."""
    wrong = []
    for kind in kinds:
        one = found[kind.name]
        copies = one.attempts if kind.copies == "each" else kind.copies
        if (one.ends, one.code, one.copies) != (kind.ends, kind.code, copies):
            wrong.append(f"{kind.name}: {kind.ends} {kind.code} with {copies} copies expected, got {one}")
    return wrong
