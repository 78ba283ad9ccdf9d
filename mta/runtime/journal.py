"""The journal process: it makes events durable in the delivery log."""

import asyncio

from mta.journal.journal import Journal
from mta.journal.lines import log_lines
from mta.log_file.delivery_log import DeliveryLog
from mta.runtime.child import Child, run
from mta.runtime.wiring import journal_name, open_store


async def main(child: Child) -> None:
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "journal", ("journal",), child.stopping)
    journal = Journal(
        store.outbox,
        DeliveryLog(settings.journal.log_path, log_lines),
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
