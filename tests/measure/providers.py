"""Mail to twelve sites that answer as providers do: `python -m tests.measure.providers [--messages N]`.

First all sites accept everything and have no limits: the maximum rate without script. Then the sites follow their
script (`tests/providers/sites.py`), and mail comes at half of that rate, or as fast as the node takes it where that is
less: the maximum rate of the script. At last mail comes at half of that. Each delivery must end as the script says, no
limit may be exceeded at the hosts, and the books must balance; the rate of the good site is compared with its part of
the mail. Exits 1 if something is not so.
"""

import argparse
import contextlib
import datetime
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench import machine
from bench.flow import Load, result_of, start_source
from bench.processes import Child, Node, RunVoid
from bench.report import heading, machine_lines, write
from bench.rig import directory, end_well, stopping
from bench.usage import spent, usage
from tests.providers.sites import PLAIN, SITES, Site, address_of, end_of, settings, site_of
from tests.support.dns_thread import DnsThread

ROOT = Path(__file__).parents[2]
_SIZE, _SESSIONS = 2048, 60
_WINDOW = 61.0  # seconds of the grid of rates, and a part of it that messages may be late (mta/scheduling/limits.py)
_LATE, _NOISE = 0.9, 0.1
_ENDS = {"Delivery": "delivered", "Bounce": "bounced", "Expiration": "expired"}


class Given(NamedTuple):
    """One run."""

    messages: int
    domains: int
    workers: int
    rate: float  # messages a second, 0 = as fast as they are answered
    age: int  # seconds after which mail of the sites that do not answer expires
    paced: int = 0  # messages a minute of the site with a rate
    fast: int = 1  # messages that the site `rate` takes in a second


class Peers(Child):
    """The hosts of all sites."""

    def __init__(self, errors: Path, rate: int) -> None:
        super().__init__([sys.executable, "-m", "tests.providers.peer", str(rate)], errors=errors, folder=ROOT)
        self.port = int(self.ready(60.0)["port"])
        self.lag = 0.0  # seconds by which a message may have been seen late

    def received(self) -> int:
        return int(self.ask("received", "received")["messages"])

    def account(self) -> dict[str, dict[str, Any]]:
        said = self.ask("account", "account")
        self.lag = float(said["lag"])
        found: dict[str, dict[str, Any]] = said["sites"]
        return found


@contextlib.contextmanager
def standing(given: Given, root: Path, script: bool) -> Iterator[tuple[Node, Peers, Path]]:
    """A node, and the sites by their script; or all of them good, without limits."""
    dns = DnsThread().start()
    for number, site in enumerate(SITES):
        dns.stub.a(f"mx.{site.name}.test", address_of(number), ttl=86_400)
    for number in range(given.domains):
        dns.stub.mx(f"d{number}.bench.test", (10, f"mx.{site_of(number).name}.test"), ttl=86_400)
    try:
        with directory(root) as place, stopping(Peers(place / "peers.log", given.fast)) as peers:
            peers.ask(f"script {'on' if script else 'off'}", "script")
            sets = [
                f'delivery.dns_servers=["{dns.stub.address}"]', f"delivery.mx_port={peers.port}",
                'delivery.retries=["2s"]', "delivery.greeting_timeout=3s",
            ]  # fmt: skip
            sets += [f"sites={settings(given.age, given.paced)}"] if script else []
            with stopping(Node(place / "data", given.workers, "", place / "node.log", sets)) as node:
                yield node, peers, place
                end_well(node)
    finally:
        dns.stop()


def most_rate(given: Given, root: Path) -> float:
    """Messages a second to sites without limits that accept everything, from the first receipt to the last."""
    with standing(given, root, script=False) as (node, peers, place):
        for messages in (given.domains, given.messages):  # at first the domains are found out
            send(node, given._replace(messages=messages, rate=0.0), place)
            dead = sum(site_of(number % given.domains).kind == "dead" for number in range(messages))
            wait(lambda messages=messages, dead=dead: peers.received() >= messages - dead, 60.0)
            mails = sorted(at for seen in peers.account().values() for at in seen["mails"])
        return len(mails) / (mails[-1] - mails[0])


def at_half(given: Given, maximum: float) -> Given:
    """At half of the maximum rate. Two sites allow three quarters of the rate of their mail: one has a limit, the other
    answers 421 beyond it."""
    share = next(site.share for site in SITES if site.name == "paced") / 200
    allowed = maximum / 2 * share * 0.75
    return given._replace(rate=maximum / 2, paced=int(allowed * 60), fast=max(1, int(allowed)))


def send(node: Node, given: Given, place: Path) -> tuple[float, float]:
    """Unix times of the begin and the end."""
    load = Load(given.messages, _SIZE, _SESSIONS, given.domains, given.workers, [])
    began = time.time()
    result_of(start_source(load, node.smtp, place, *(["--rate", str(given.rate)] if given.rate else [])))
    return began, time.time()


def wait(holds: Callable[[], bool], within: float, what: Callable[[], str] = lambda: "") -> None:
    """Raises RunVoid."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise RunVoid(f"not all mail ended in time {what()}")
        time.sleep(0.5)


def run(given: Given, root: Path, within: float = 90.0) -> dict[str, Any]:
    """The figures of the script, and what was not as it says."""
    with standing(given, root, script=True) as (node, peers, place):
        before = usage([*node.family(), psutil.Process(peers.process.pid)])
        began, sent = send(node, given, place)
        used = spent(before, usage([*node.family(), psutil.Process(peers.process.pid)]))

        def over() -> bool:
            said = statement(node)
            return bool(said["accepted"] == given.messages and said["queued"] == 0)

        wait(over, within, lambda: waiting(node))
        ended = time.time()
        said, seen = statement(node), peers.account()
        ends = ends_in_log(node, given.messages)
        wrong = faults(given, said, seen, ends, peers.lag)
        to_plain = sum(site_of(number % given.domains).name == PLAIN for number in range(given.messages))
        kept = rate_of(seen[PLAIN]["mails"], began, sent) / (given.rate * to_plain / given.messages)
        return {
            "messages": given.messages,
            "domains": given.domains,
            "wanted_per_second": round(given.rate, 1),
            "sent_per_second": round(given.messages / (sent - began), 1),
            "seconds": round(ended - began, 1),
            "kept": round(kept, 3),
            "cpu_of_a_core": {
                role: round(use["cpu_seconds"] / (sent - began), 2) for role, use in used.items() if use["cpu_seconds"]
            },
            "statement": {name: said[name] for name in ("accepted", "delivered", "bounced", "expired", "uncertain")},
            "sites": {site.name: figures(site, seen[site.name]) for site in SITES},
            "orders": sorted(
                f"{order['site']} {order['connections']}" for order in node.get("/v1/limits/orders")["orders"]
            ),
            "wrong": wrong,
        }


def statement(node: Node) -> dict[str, Any]:
    return dict(node.get("/v1/tags/campaign_a"))


def waiting(node: Node) -> str:
    """Queues that are left, by site, for the words of a run that did not end."""
    found = Counter[str]()
    for queue in node.get("/v1/queues?limit=1000")["queues"]:
        found[site_of(int(queue["domain"][1:].partition(".")[0])).name] += (
            queue["due"] + queue["scheduled"] + queue["claimed"]
        )
    return f"{dict(found)}"


def rate_of(mails: list[float], began: float, sent: float) -> float:
    """Messages a second in the middle of the time in which mail came in."""
    edge = (sent - began) / 10
    return sum(began + edge <= at < sent - edge for at in mails) / (sent - began - 2 * edge)


def figures(site: Site, seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "received": len(seen["received"]),
        "connections": seen["connections"],
        "most_open": seen["most_open"],
        "allowed": site.connections,
        "refusals": seen["refusals"],
    }


def ends_in_log(node: Node, messages: int, within: float = 30.0) -> dict[int, str]:
    """By the number of the message. The journal writes the log after the statement knows an end: waits for it, and
    gives those that are there where it does not come."""
    deadline = time.monotonic() + within
    while len(found := read_ends(node)) < messages and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def read_ends(node: Node) -> dict[int, str]:
    """The ends that the log has so far. Its last line may be in the middle of being written."""
    found: dict[int, str] = {}
    with node.log.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            event = json.loads(line)
            if event["type"] in _ENDS:
                number = int(event["recipient"].partition("@")[0][1:])
                found[number] = _ENDS[event["type"]] if number not in found else "ended twice"
    return found


def faults(given: Given, said: dict[str, Any], seen: dict[str, Any], ends: dict[int, str], lag: float) -> list[str]:
    wrong: list[str] = []
    wanted: dict[str, set[int]] = defaultdict(set)
    classes = Counter[str]()
    for number in range(given.messages):
        site = site_of(number % given.domains)
        end = end_of(site, number)
        classes[end] += 1
        if end == "delivered":
            wanted[site.name].add(number)
        if ends.get(number) != end:
            wrong.append(f"u{number} at {site.name}: {end} expected, got {ends.get(number)}")
    wrong = [*wrong[:5], f"{len(wrong)} deliveries ended otherwise"] if len(wrong) > 5 else wrong
    for name, count in classes.items():
        if said[name] != count:
            wrong.append(f"{name}: the statement has {said[name]}, the script {count}")
    if not said["balanced"]:
        wrong.append("the books do not balance")
    for site in SITES:
        wrong += _faults_of(site, seen[site.name], wanted[site.name], given.paced, lag)
    return wrong


def _faults_of(site: Site, seen: dict[str, Any], wanted: set[int], paced: int, lag: float) -> Iterator[str]:
    if set(seen["received"]) != wanted or seen["doubles"]:
        yield f"{site.name}: {len(seen['received'])} received and {seen['doubles']} twice, not {len(wanted)}"
    if site.connections and seen["most_open"] > site.connections:
        yield f"{site.name}: {seen['most_open']} connections at once, {site.connections} are allowed"
    if site.messages_per_connection and seen["most_carried"] > site.messages_per_connection:
        yield f"{site.name}: {seen['most_carried']} messages on one connection"
    if site.messages_per_minute and (most := most_in_a_window(seen["mails"], paced, lag)) > 0:
        yield f"{site.name}: {most} messages more in a window than {paced} a minute allow"


def most_in_a_window(mails: list[float], per_minute: int, lag: float) -> int:
    """How many messages more than the rate allows came in some window, for windows of 1 s, 10 s and a minute. `lag`:
    seconds by which some of them may have been seen late."""
    worst = 0
    for span in (1.0, 10.0, 60.0):
        allowed = int((span + _LATE + _NOISE + lag) * per_minute / _WINDOW) + 1
        first = 0
        for last, at in enumerate(mails):
            while mails[first] < at - span:
                first += 1
            worst = max(worst, last - first + 1 - allowed)
    return worst


def page(result: dict[str, Any]) -> str:
    """The result for people."""
    full, half = result["full"], result["half"]
    lines = [
        *heading(result),
        "",
        "Mail of 2 KB to domains behind 12 sites (`python -m tests.measure.providers`). The maximum without script and "
        f"limits was {result['maximum']:,.0f} messages a second.",
        "",
        "## At half of the maximum without script",
        "",
        *told(full),
        "",
        "## At half of the maximum with script",
        "",
        *told(half),
        "",
        "| site | received | connections | most at once | allowed | refusals |",
        "|---|---|---|---|---|---|",
        *[
            f"| {name} | {one['received']:,} | {one['connections']:,} | {one['most_open']} | {one['allowed'] or ''} | "
            f"{', '.join(f'{reply} x {many:,}' for reply, many in one['refusals'].items())} |"
            for name, one in half["sites"].items()
        ],
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def told(found: dict[str, Any]) -> list[str]:
    """One run in words."""
    said = ", ".join(f"{count:,} {name}" for name, count in found["statement"].items())
    of_sent = found["kept"] * found["wanted_per_second"] / found["sent_per_second"]
    return [
        f"{found['messages']:,} messages to {found['domains']:,} domains came in at {found['sent_per_second']:,.0f} a "
        f"second, {found['wanted_per_second']:,.0f} were wanted. All had ended after {found['seconds']:.0f} s. "
        f"The good site kept {found['kept']:.2f} of its part of the wanted rate; of the mail that came in that is "
        f"{of_sent:.2f}.",
        "",
        f"Statement: {said}. Its books balance.",
        "",
        *(
            [f"- {line}" for line in found["wrong"]]
            or ["Each delivery ended as the script says; no limit was exceeded."]
        ),
        "",
        "CPU while mail came in, as parts of a core: "
        + ", ".join(f"{role} {part:.2f}" for role, part in found["cpu_of_a_core"].items())
        + ".",
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--maximum", type=float, default=0.0, help="messages a second without script; 0 = measure it")
    parser.add_argument("--only-maximum", action="store_true", help="measure the maximum and end")
    parser.add_argument("--age", type=int, default=20, help="seconds until mail of sites that do not answer expires")
    parser.add_argument("--within", type=float, default=90.0, help="seconds for what is left when all is sent")
    parser.add_argument("--results", type=Path, help="where the files go")
    parser.add_argument("--data-dir", type=Path, default=Path(tempfile.gettempdir()), help="on a real disk")
    asked = parser.parse_args(argv)
    given = Given(asked.messages, asked.domains, asked.workers, 0.0, asked.age)
    maximum = asked.maximum or most_rate(given._replace(messages=min(given.messages, 20_000)), asked.data_dir)
    print(f"maximum {maximum:,.0f} messages/s", flush=True)
    if asked.only_maximum:
        return 0
    full = run(at_half(given._replace(messages=min(given.messages, 40_000)), maximum), asked.data_dir, asked.within)
    print(json.dumps(full, indent=1), flush=True)
    half = run(at_half(given, full["sent_per_second"]), asked.data_dir, asked.within)
    print(json.dumps(half, indent=1))
    if asked.results:
        now = datetime.datetime.now(datetime.UTC)
        result = {
            "name": "mail to sites that answer as providers do",
            "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": machine.commit(ROOT),
            "machine": machine.facts(),
            "maximum": round(maximum, 1),
            "full": full,
            "half": half,
        }
        print(write(asked.results, f"{now:%Y-%m-%d}-providers", result, page(result)))
    return 1 if full["wrong"] or half["wrong"] or half["kept"] < 0.9 else 0


if __name__ == "__main__":
    sys.exit(main())
