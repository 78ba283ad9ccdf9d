"""`python -m bench`: the relay rate of an embedded node on this machine, as dated files in bench/results."""

import argparse
import datetime
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from bench import machine, report
from bench.processes import RunVoid
from bench.run import Load, one_run

_ROOT = Path(__file__).resolve().parent.parent
_STARTED = time.monotonic()


def _say(text: str) -> None:
    print(f"{time.monotonic() - _STARTED:7.1f} s  {text}", file=sys.stderr, flush=True)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the relay rate of one node.")
    parser.add_argument("--messages", type=_positive, default=50_000)
    parser.add_argument("--size", type=_positive, default=4096, help="bytes of a message, headers included")
    parser.add_argument("--sessions", type=_positive, default=40)
    parser.add_argument("--domains", type=_positive, default=5)
    parser.add_argument("--workers", type=_positive, default=2)
    parser.add_argument("--repeat", type=_positive, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the node")
    parser.add_argument("--data-dir", type=Path, help="a directory on a real disk; data goes to a new one below it")
    parser.add_argument("--name", default="relay", help="ends the names of the result files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _data_root(given: Path | None) -> Path:
    for place in [given] if given else [Path("/var/tmp"), Path(tempfile.gettempdir()), Path.home()]:
        if place.is_dir() and machine.is_real_disk(place):
            return place
    raise SystemExit(
        f"python -m bench: {given or 'no temporary directory'} is not a directory on a real disk (file system "
        f"{machine.file_system(given)['type'] if given else 'tmpfs'}); give one with --data-dir"
    )


def main(argv: list[str] | None = None) -> int:
    given = _arguments(argv)
    root = _data_root(given.data_dir)
    load = Load(given.messages, given.size, given.sessions, given.domains, given.workers, given.set)
    runs: list[dict[str, Any]] = []
    void: list[str] = []
    for number in range(1, given.repeat + 1):
        _say(f"run {number} of {given.repeat}: {load.messages:,} messages of {load.size:,} bytes")
        try:
            runs.append(one_run(load, root, _say))
        except RunVoid as error:
            void.append(str(error))
            _say(f"VOID: {error}")
    result = {
        "name": given.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(_ROOT),
        "load": msgspec.to_builtins(load),
        "machine": machine.facts(),
        "server": runs[0]["server"] if runs else "",
        "file_system": machine.file_system(root),
        "summary": report.summary(runs),
        "runs": runs,
        "void": void,
    }
    if runs:
        stem = f"{str(result['date'])[:10]}-{given.name}"
        _, page = report.write(_ROOT / "bench" / "results", stem, result)
        rate = report.summary(runs)["rate"]
        _say(f"median {rate['median']:,.0f} messages/s ({rate['least']:,.0f} to {rate['most']:,.0f}); {page}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if void else 0


if __name__ == "__main__":
    sys.exit(main())
