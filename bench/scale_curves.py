"""The curves: what grows along each, and the shape of every point."""

import argparse
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from bench.flow import Load
from bench.scale_fleet import Shape

_MANY_LANES: Final = 64  # enough that six masters have about the same number of them


class Curve(NamedTuple):
    """`shapes` of the options and the cores of this machine, in the order of x."""

    name: str
    title: str
    x_label: str
    log_x: bool
    shapes: Callable[[argparse.Namespace, int], Sequence[Shape]]


def _load(given: argparse.Namespace, cores: int, **other: object) -> Load:
    return msgspec.structs.replace(
        Load(given.messages, given.size, given.sessions, given.domains, cores, list(given.set)), **other
    )


def _workers(given: argparse.Namespace, cores: int) -> list[Shape]:
    return [Shape(n, _load(given, n)) for n in range(1, cores + 2)]


def _nodes(given: argparse.Namespace, cores: int) -> list[Shape]:
    """As many workers in all as there are cores, where that can be."""
    return [
        Shape(n, _load(given, max(cores // n, 1)), nodes=n, store="single", orders=given.orders, proved=True)
        for n in (1, 2)
    ]


def _masters(given: argparse.Namespace, cores: int) -> list[Shape]:
    load = _load(given, cores, settings=[*given.set, f"redis.lanes={_MANY_LANES}"])
    return [
        Shape(masters, load, store=store, masters=masters, orders=given.orders, proved=True)
        for masters, store in ((1, "single"), (3, "cluster"), (6, "cluster"))
    ]


def _lanes(given: argparse.Namespace, cores: int) -> list[Shape]:
    """Mail as it comes; then a backlog in all of them."""
    return [
        Shape(n, _load(given, cores, settings=[*given.set, f"redis.lanes={n}"]), store="single", drained=given.messages)
        for n in (4, 16, 64)
    ]


def _domains(given: argparse.Namespace, cores: int) -> list[Shape]:
    """Mail as it comes, which finds few queues with work at a time; then a backlog in all of them."""
    counts = [count for count in (1, 10, 5_000, 100_000) if count <= given.most_domains]
    return [Shape(n, _load(given, cores, domains=n), drained=max(given.messages, n)) for n in counts]


def _waiting(given: argparse.Namespace, cores: int) -> list[Shape]:
    counts = [count for count in (10_000, 100_000, 1_000_000) if count <= given.most_waiting]
    return [Shape(n, _load(given, cores), store="single", waiting=n) for n in (0, *counts)]


def _sessions(given: argparse.Namespace, cores: int) -> list[Shape]:
    """One session alone waits for each sync: it sends less, or it would take most of the time."""
    wide = [*given.set, "smtp.max_connections_per_client=1000"]
    return [
        Shape(n, _load(given, cores, sessions=n, messages=min(given.messages, 1500 * n), settings=wide))
        for n in (1, 10, 40, 100, 200)
    ]


def _rules(given: argparse.Namespace, cores: int) -> list[Shape]:
    counts = [count for count in (100, 1_000, 10_000, 100_000) if count <= given.most_rules]
    return [Shape(n, _load(given, cores), store="single", rules=n) for n in (0, *counts)]


CURVES = {
    curve.name: curve
    for curve in (
        Curve("workers", "Worker processes of one node", "workers", False, _workers),
        Curve("nodes", "Nodes on one server, the load split over them", "nodes", False, _nodes),
        Curve("masters", "Lanes on one server, and over the masters of a Redis Cluster", "masters", False, _masters),
        Curve("lanes", "Lanes of the store, on one server", "lanes", True, _lanes),
        Curve("sessions", "SMTP sessions that send", "sessions", True, _sessions),
        Curve("domains", "Recipient domains: as many queues", "domains", True, _domains),
        Curve("rules", "Active rules, none of which matches", "rules", True, _rules),
        Curve("waiting", "Deliveries that wait in the queues for a week", "waiting deliveries", True, _waiting),
    )
}
