"""The books of a store counted anew, for tests that end with everything at rest."""

import asyncio
import time

from mta.model.settings import RedisSettings
from mta.redis_store import keys
from mta.redis_store.checker import Checker, Report
from mta.redis_store.link import Link


def recount(url: str) -> Report:
    """The checker's report of the store at `url`."""
    return asyncio.run(_report(url))


def assert_balanced(url: str, within: float = 60.0) -> Report:
    """No broken sentence and balanced books, once the store is at rest; the report."""
    deadline = time.monotonic() + within
    while True:
        report = recount(url)
        if not report.broken and report.balanced:
            return report
        assert time.monotonic() < deadline, report
        time.sleep(0.1)


async def _report(url: str) -> Report:
    link = Link(url, RedisSettings(timeout=20.0))
    try:
        await link.open()
        lanes = int(await link.command("HGET", keys.META_SETTINGS, "lanes"))
        return await Checker(link, lanes).report()
    finally:
        await link.close()
