"""The journal process: it makes events durable in this node's spool, and writes the delivery log from there."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from mta.model.errors import severity
from mta.runtime.child import Child
from mta.runtime.wiring.journal import make_journal, open_journal_store, open_log, open_spool
from mta.runtime.wiring.opening import patiently

_TRY_AGAIN: Final = 0.5  # seconds

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


async def once_free(open_: Callable[[], _T], key: str, path: str, stopping: asyncio.Event) -> _T | None:
    """Repeat `open_` until it raises no OSError: the journal of a node that was killed may still hold the file. The
    setting `key` names `path`. None: the process is told to stop."""
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
    store = await open_journal_store(child)
    spool = await once_free(lambda: open_spool(settings), "node.data_dir", settings.node.data_dir, stopping)
    log = await once_free(lambda: open_log(settings), "journal.log_path", settings.journal.log_path, stopping)
    if spool is None or log is None:
        await store.close()
        return
    journal = await patiently(lambda: make_journal(settings, store, spool, log), stopping)
    reopening: set[asyncio.Task[None]] = set()
    child.reopen.append(lambda: reopening.add(asyncio.create_task(journal.reopen())))
    child.essential(journal.start())
    child.ready()
    await stopping.wait()
    await journal.stop()
    await store.close()
