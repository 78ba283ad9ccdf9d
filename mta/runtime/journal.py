"""The journal process: it makes events durable in the delivery log."""

import asyncio
import logging

from mta.journal.journal import Journal
from mta.log_file.lines import log_lines
from mta.log_file.delivery_log import DeliveryLog
from mta.model.errors import severity
from mta.runtime.child import Child, run
from mta.runtime.wiring import journal_name, open_store

_log = logging.getLogger(__name__)
_TRY_AGAIN = 0.5  # seconds


async def _open_log(path: str, stopping: asyncio.Event) -> DeliveryLog | None:
    """Once the file can be written: the journal of a node that was killed may hold it still. None: told to stop."""
    said = ""
    while not stopping.is_set():
        try:
            return DeliveryLog(path, log_lines)
        except OSError as error:
            words = f"{path}: {error.strerror}"
            if words != said:
                said = words
                _log.log(severity(error), "journal.log_path: waiting to write %s", words)
            await asyncio.sleep(_TRY_AGAIN)
    return None


async def main(child: Child) -> None:
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "journal", ("journal",), child.stopping)
    log = await _open_log(settings.journal.log_path, child.stopping)
    if log is None:
        await store.link.close()
        return
    journal = Journal(
        store.outbox,
        log,
        store.tail,
        journal_name(settings.node.name, store.session.pid),
        settings.node.name,
        settings.journal,
    )
    reopening: set[asyncio.Task[None]] = set()
    child.reopen.append(lambda: reopening.add(asyncio.create_task(journal.reopen())))
    child.essential(journal.start())
    child.ready()
    await child.stopping.wait()
    await journal.stop()
    await store.link.close()


if __name__ == "__main__":
    run(main)
