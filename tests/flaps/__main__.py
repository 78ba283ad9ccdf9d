"""`python -m tests.flaps --minutes M --seed S`: mail for minutes while the store's connections are cut."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.flaps import story


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.flaps", description="Cut the store's connections.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long connections flap")
    parser.add_argument("--seed", type=int, default=1, help="of when, where and how they are cut")
    parser.add_argument("--folder", type=Path, help="where the node's files stay; by default they go")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="floodgate-flaps-") as folder:
        evidence = story.run(given.minutes * 60, given.seed, given.folder or Path(folder), sessions=8)
    print(f"seed {given.seed}: {story.summary(evidence)}")
    broken = story.failures(evidence)
    for sentence in broken:
        print(f"FAILED: {sentence}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
