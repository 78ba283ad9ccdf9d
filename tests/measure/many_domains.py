"""Mail to many domains against mail to ten: `python -m tests.measure.many_domains [--messages N] [--domains N]`.

Three kinds of destinations take turns on a machine that does nothing else: ten domains with a host each; many domains
with a host each, which share no connection; and many domains behind one host. A leg sends as many messages as the
others. The nodes of all kinds stand at the same time, and a leg of each kind follows another, since the speed of a
machine changes within minutes. Before the first leg of a kind, its domains get four messages each: then nearly every
worker knows the DNS answers about nearly every domain, and no leg pays for the DNS server of the measurement, which
costs more than a question costs Floodgate. Prints the rates by leg with the CPU of each process, and the medians of the
rates and of their shares of the leg of the first kind before them.
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.flow import Flow, Load
from bench.processes import Node, Sink
from bench.progress import say
from bench.rig import directory, end_well, stopping
from tests.support.dns_thread import DnsThread

_FEW = 10
_SIZE = 4096
_SESSIONS = 40
_BEFORE = 4  # messages to each domain before the first leg


class Kind(NamedTuple):
    """One kind of destinations."""

    name: str
    domains: int
    hosts: int


def told_to(dns: DnsThread, kind: Kind) -> None:
    """Give each domain its host, and each host an address of loopback of its own."""
    for number in range(kind.hosts):
        dns.stub.a(f"mx.h{number}.test", f"127.1.{number // 250}.{number % 250 + 1}", ttl=86_400)
    for number in range(kind.domains):
        dns.stub.mx(f"d{number}.bench.test", (10, f"mx.h{number % kind.hosts}.test"), ttl=86_400)


@contextlib.contextmanager
def standing(kind: Kind, workers: int, settings: list[str], root: Path) -> Iterator[tuple[Node, Sink, Path]]:
    """A node that sends to destinations of that kind."""
    dns = DnsThread().start()
    told_to(dns, kind)
    try:
        with directory(root) as place, stopping(Sink(place / "sink.log", "--listen", "0.0.0.0:0")) as sink:
            port = sink.address.rpartition(":")[2]
            more = [f'delivery.dns_servers=["{dns.stub.address}"]', f"delivery.mx_port={port}", *settings]
            with stopping(Node(place / "data", workers, "", place / "node.log", more)) as node:
                yield node, sink, place
                end_well(node)
    finally:
        dns.stop()


def leg(node: Node, sink: Sink, place: Path, kind: Kind, messages: int, workers: int) -> float:
    """Messages a second from the first MAIL to the last receipt. Raises RunVoid."""
    load = Load(messages, _SIZE, _SESSIONS, kind.domains, workers, [])
    with Flow(node, sink, load, place, say) as flow:
        flow.sent()
        figures = flow.end()
    spent = {name: used["cpu_seconds"] / messages * 1e6 for name, used in figures["processes"].items()}
    text = ", ".join(f"{name} {us:.0f}" for name, us in spent.items() if us >= 1)
    say(f"{kind.name}: {figures['connections'] / messages:.2f} connections a message; us of CPU a message: {text}")
    return float(figures["rate"])


def turn(kinds: Sequence[Kind], given: argparse.Namespace, rates: dict[str, list[float]]) -> None:
    with contextlib.ExitStack() as stack:
        stand = [stack.enter_context(standing(kind, given.workers, given.set, given.data_dir)) for kind in kinds]
        for kind, at in zip(kinds, stand, strict=True):
            leg(*at, kind, _BEFORE * kind.domains, given.workers)
        for _ in range(given.legs):
            for kind, at in zip(kinds, stand, strict=True):
                rates[kind.name].append(leg(*at, kind, given.messages, given.workers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="of a leg")
    parser.add_argument("--domains", type=int, default=5000)
    parser.add_argument("--legs", type=int, default=2, help="of each kind in a turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", action="append", choices=("ten", "hosts", "one"), help="one of them; default: all")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the node")
    parser.add_argument("--data-dir", type=Path, default=Path(tempfile.gettempdir()), help="on a real disk")
    given = parser.parse_args()
    known = {
        "ten": Kind("ten domains", _FEW, _FEW),
        "hosts": Kind("distinct hosts", given.domains, given.domains),
        "one": Kind("one host", given.domains, 1),
    }
    kinds = [known[name] for name in given.kind or known]
    rates: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for _ in range(given.turns):
        turn(kinds, given, rates)
    for name, found in rates.items():
        median = statistics.median(found)
        share = statistics.median(rate / usual for rate, usual in zip(found, rates[kinds[0].name], strict=True))
        legs = ", ".join(f"{rate:,.0f}" for rate in found)
        print(f"{name:<16}{median:>8,.0f} messages/s = {share:.2f} of {kinds[0].name} ({legs})")


if __name__ == "__main__":
    main()
