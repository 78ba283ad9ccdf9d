"""Reading of the rule table and of its changes in pages: no step of the store and no answer grows with the table."""

from collections.abc import Sequence
from typing import Final

from mta.model.errors import StoreError
from mta.model.rules import ChangeOp, Head
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.redis_store.rule_records import leads_from, raw_changes

Table = dict[bytes, bytes]  # rule id -> rule, as the store has them

_AT_ONCE: Final = 1000  # rules of a table that one step reads
_SCANNED: Final = 500
_MOST_CHANGES: Final = 1000  # more than these, and the whole table costs less
_MOST_BYTES: Final = 1 << 18  # of the rules of one page of changes, about
_TRIES: Final = 20

_CHANGE_SET: Final = ChangeOp.SET.encode()


async def whole_table(link: Link) -> tuple[Head, Table]:
    """Head and rules of one moment. A large table is read in pages, and what has changed meanwhile is applied to
    them."""
    for _ in range(_TRIES):
        head, size, table = await _look(link, _AT_ONCE)
        if len(table) == size:
            return head, table
        found = await _caught_up(link, head, await _scanned(link))
        if found is not None:
            return found
    raise StoreError("the rule table changes too fast to be read")


async def _look(link: Link, most: int) -> tuple[Head, int, Table]:
    generation, change, size, rows = await link.call(b"rules_load", [keys.RULES_HEAD, keys.RULES_TABLE], [most])
    return Head(int(generation), change.decode()), int(size), dict(zip(rows[::2], rows[1::2], strict=True))


async def _scanned(link: Link) -> Table:
    """Every rule that stood during the whole scan, and some of the others."""
    table: Table = {}
    cursor = 0
    while True:
        cursor, rows = await link.command("HSCAN", keys.RULES_TABLE, cursor, "COUNT", _SCANNED)
        table |= rows
        if not cursor:
            return table


async def _caught_up(link: Link, since: Head, table: Table) -> tuple[Head, Table] | None:
    """The table as it is at the head of now: of rules that changed since `since` the last change counts. None: the
    changes do not lead there, or the scan went over to another server, whose order is another."""
    (head, size, _), at = await _look(link, 0), since
    while at != head:
        rows = await change_rows(link, at, _MOST_CHANGES) if at.generation < head.generation else []
        if not rows:
            return None
        for row in rows:
            at, changes = raw_changes(*row)
            for op, rule_id, raw in changes:
                if op is ChangeOp.PUT:
                    table[rule_id] = raw
                else:
                    table.pop(rule_id, None)
            if at == head:
                break
    return (head, table) if len(table) == size else None


async def _head(link: Link) -> Head:
    generation, change = await link.command("HMGET", keys.RULES_HEAD, "generation", "change")
    return Head(int(generation or 0), (change or b"").decode())


async def change_rows(link: Link, since: Head, most: int) -> list[tuple[int, Sequence[bytes]]]:
    """Changes from `since` on, at most `most`, each with its generation; the field `rule` of a part of a set holds its
    rules. [] where they do not lead to the head, or are too many."""
    head = await _head(link)
    if not 0 < head.generation - since.generation <= _MOST_CHANGES:
        return []
    rows = await link.command("XRANGE", keys.RULES_CHANGES, f"{since.generation}-0", "+", "COUNT", most + 1)
    if not (rows and leads_from(since, rows[0])):
        return []
    found: list[tuple[int, Sequence[bytes]]] = []
    size = 0
    for due, (entry, fields) in enumerate(rows[1:], since.generation + 1):
        if entry != b"%d-0" % due:
            return []
        if fields[1] == _CHANGE_SET:
            part = await link.command("XRANGE", keys.RULES_PARTS, entry, entry)
            if not part:
                return []
            fields[7] = part[0][1][1]
        size += len(fields[7])
        if found and size > _MOST_BYTES:
            break
        found.append((due, fields))
    return found
