"""The journal process: it makes events durable in this node's spool, and writes the delivery log from there."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from mta.journal.journal import Journal
from mta.model.errors import severity
from mta.runtime.child import Child, run
from mta.runtime.wiring import journal_name, open_log, open_spool, open_store

_TRY_AGAIN: Final = 0.5  # seconds

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


async def once_free(open_: Callable[[], _T], key: str, path: str, stopping: asyncio.Event) -> _T | None:
    """What `open_` gives once it raises no OSError: the journal of a node that was killed may hold the file still. The
    setting `key` names `path`. None: told to stop."""
    said = ""
    while not stopping.is_set():
        try:
            return open_()
        except OSError as error:
            words = f"{path}: {error.strerror}"
            if words != said:
                said = words
                _log.log(severity(error), "%s: waiting to write %s", key, words)
            await asyncio.sleep(_TRY_AGAIN)
    return None


async def main(child: Child) -> None:
    settings, stopping = child.settings, child.stopping
    store = await open_store(settings, child.boot.redis_url, "journal", ("journal",), stopping)
    spool = await once_free(lambda: open_spool(settings), "node.data_dir", settings.node.data_dir, stopping)
    log = await once_free(lambda: open_log(settings), "journal.log_path", settings.journal.log_path, stopping)
    if spool is None or log is None:
        await store.link.close()
        return
    journal = Journal(
        store.outbox,
        spool,
        {"log": log},
        store.tail,
        journal_name(settings.node.name, store.session.pid),
        settings.node.name,
        settings.journal,
    )
    reopening: set[asyncio.Task[None]] = set()
    child.reopen.append(lambda: reopening.add(asyncio.create_task(journal.reopen())))
    child.essential(journal.start())
    child.ready()
    await stopping.wait()
    await journal.stop()
    await store.link.close()


if __name__ == "__main__":
    run(main)
