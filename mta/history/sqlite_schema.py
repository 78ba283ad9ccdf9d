"""The statements that make the files of a history on SQLite, as SQLAlchemy makes them of `mta.history.tables`.

They stand here so that a journal starts without SQLAlchemy. A test compares both.
"""

from typing import Final

# The tables of control.db
CONTROL: Final = (
    "CREATE TABLE IF NOT EXISTS about (name VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY (name))",
    "CREATE TABLE IF NOT EXISTS batches ("
    "number INTEGER NOT NULL, round BIGINT NOT NULL, written_at BIGINT NOT NULL, events INTEGER NOT NULL, "
    "parts BLOB NOT NULL, PRIMARY KEY (number), UNIQUE (round))",
    "CREATE TABLE IF NOT EXISTS days (day INTEGER NOT NULL, written_at BIGINT NOT NULL, PRIMARY KEY (day))",
    "CREATE TABLE IF NOT EXISTS head (one INTEGER NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (one))",
    "CREATE TABLE IF NOT EXISTS hours ("
    "hour INTEGER NOT NULL, pool VARCHAR NOT NULL, domain VARCHAR NOT NULL, tenant VARCHAR NOT NULL, "
    "category VARCHAR NOT NULL, kind VARCHAR NOT NULL, many BIGINT NOT NULL, "
    "PRIMARY KEY (hour, pool, domain, tenant, category, kind)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS lanes ("
    "source VARCHAR NOT NULL, begun VARCHAR NOT NULL, position VARCHAR NOT NULL, known BIGINT NOT NULL, "
    "PRIMARY KEY (source))",
    "CREATE TABLE IF NOT EXISTS sites ("
    "domain VARCHAR NOT NULL, site VARCHAR NOT NULL, written_at BIGINT NOT NULL, "
    "PRIMARY KEY (domain)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS spools ("
    "spool VARCHAR NOT NULL, segment BIGINT NOT NULL, place BIGINT NOT NULL, PRIMARY KEY (spool))",
    "CREATE TABLE IF NOT EXISTS statements ("
    "rule VARCHAR NOT NULL, statement VARCHAR NOT NULL, written_at BIGINT NOT NULL, "
    "PRIMARY KEY (rule)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS tag_counters ("
    "tag VARCHAR NOT NULL, tenant VARCHAR NOT NULL, lane INTEGER NOT NULL, epoch VARCHAR NOT NULL, "
    "field VARCHAR NOT NULL, many BIGINT NOT NULL, written_at BIGINT NOT NULL, "
    "PRIMARY KEY (tag, tenant, lane, epoch, field)) WITHOUT ROWID",
)

# The tables of the file of a day
DAY: Final = (
    "CREATE TABLE IF NOT EXISTS chunks ("
    "round BIGINT NOT NULL, first INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (round, first))",
    "CREATE TABLE IF NOT EXISTS deliveries ("
    "n INTEGER NOT NULL, id BLOB NOT NULL, rank INTEGER NOT NULL, standing SMALLINT NOT NULL, "
    "recipient BIGINT NOT NULL, last BIGINT NOT NULL, more VARCHAR NOT NULL, PRIMARY KEY (n))",
    "CREATE UNIQUE INDEX IF NOT EXISTS deliveries_id ON deliveries (id)",
    "CREATE INDEX IF NOT EXISTS deliveries_recipient ON deliveries (recipient)",
    "CREATE INDEX IF NOT EXISTS deliveries_standing ON deliveries (standing) WHERE standing > 2",
    "CREATE TABLE IF NOT EXISTS postings ("
    "kind SMALLINT NOT NULL, value VARCHAR NOT NULL, round BIGINT NOT NULL, places BLOB NOT NULL, "
    "PRIMARY KEY (kind, value, round)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS visits ("
    "id BLOB NOT NULL, opened BIGINT NOT NULL, clicked BIGINT NOT NULL, PRIMARY KEY (id)) WITHOUT ROWID",
)
