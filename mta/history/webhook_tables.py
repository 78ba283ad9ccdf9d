"""The state of webhook endpoints: in a file beside the history of a node, or in a schema beside that on PostgreSQL.

A write names the number of the endpoint's owner. A process that takes an endpoint raises the number, so that a process
which served it before, and does not know yet, can write nothing any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from mta.history.translated import translated
from mta.ports.webhooks import EventPlace, KeptFigures, KeptRequest, KeptState, KeptStream, OwnerMoved, StateChange

_METADATA: Final = MetaData()

_ENDPOINTS: Final = Table(
    "endpoints",
    _METADATA,
    Column("endpoint", String, primary_key=True),
    Column("owner", BigInteger, nullable=False),
    Column("figures", String, nullable=False),  # JSON KeptFigures
)

# How far each stream is; `replay` is 0 for the live one, 1 for a replay
_STREAMS: Final = Table(
    "streams",
    _METADATA,
    Column("endpoint", String, primary_key=True),
    Column("replay", Integer, primary_key=True),
    Column("stream", String, nullable=False),  # JSON KeptStream
)

# Requests that are not answered yet
_REQUESTS: Final = Table(
    "requests",
    _METADATA,
    Column("endpoint", String, primary_key=True),
    Column("replay", Integer, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("events", LargeBinary, nullable=False),  # msgpack [EventPlace, ...]
    Column("failures", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
)

_encode: Final = msgspec.json.Encoder().encode
_decode_stream: Final = msgspec.json.Decoder(KeptStream).decode
_decode_figures: Final = msgspec.json.Decoder(KeptFigures).decode
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(tuple[EventPlace, ...]).decode


class WebhookTables:
    """Fulfils ports.webhooks.WebhookState."""

    def __init__(self, engine: Engine, where: str) -> None:
        """`where` names the database for people, without its password."""
        self._engine = engine
        self._where = where

    def open(self) -> None:
        with self._writing() as connection:
            _METADATA.create_all(connection)

    def known(self) -> list[str]:
        with self._writing() as connection:
            return list(connection.execute(select(_ENDPOINTS.c.endpoint)).scalars())

    def take(self, endpoint_id: str) -> tuple[int, KeptState | None]:
        with self._writing() as connection:
            raised = update(_ENDPOINTS).where(_ENDPOINTS.c.endpoint == endpoint_id)
            if not connection.execute(raised.values(owner=_ENDPOINTS.c.owner + 1)).rowcount:
                connection.execute(insert(_ENDPOINTS).values(endpoint=endpoint_id, owner=1, figures="{}"))
            row = connection.execute(select(_ENDPOINTS).where(_ENDPOINTS.c.endpoint == endpoint_id)).one()
            streams = {
                bool(replay): _decode_stream(raw)
                for replay, raw in connection.execute(
                    select(_STREAMS.c.replay, _STREAMS.c.stream).where(_STREAMS.c.endpoint == endpoint_id)
                )
            }
            if not streams:
                return row.owner, None
            return row.owner, KeptState(streams, _requests(connection, endpoint_id), _decode_figures(row.figures))

    def write(self, endpoint_id: str, owner: int, change: StateChange) -> None:
        with self._writing() as connection:
            own = update(_ENDPOINTS).where(_ENDPOINTS.c.endpoint == endpoint_id, _ENDPOINTS.c.owner == owner)
            if not connection.execute(own.values(figures=_encode(change.figures).decode())).rowcount:
                raise OwnerMoved(endpoint_id)
            for replay, stream in change.streams.items():
                one = _STREAMS.c.endpoint == endpoint_id, _STREAMS.c.replay == int(replay)
                connection.execute(delete(_STREAMS).where(*one))
                if stream is None:
                    of = _REQUESTS.c.endpoint == endpoint_id, _REQUESTS.c.replay == int(replay)
                    connection.execute(delete(_REQUESTS).where(*of))
                else:
                    text = _encode(stream).decode()
                    connection.execute(insert(_STREAMS).values(endpoint=endpoint_id, replay=int(replay), stream=text))
            self._write_requests(connection, endpoint_id, change)

    def _write_requests(self, connection: Connection, endpoint_id: str, change: StateChange) -> None:
        gone = [*change.drop, *((replay, request.number) for replay, request in change.put)]
        for replay in (False, True):
            numbers = [number for of, number in gone if of is replay]
            for at in range(0, len(numbers), 500):
                connection.execute(
                    delete(_REQUESTS).where(
                        _REQUESTS.c.endpoint == endpoint_id,
                        _REQUESTS.c.replay == int(replay),
                        _REQUESTS.c.number.in_(numbers[at : at + 500]),
                    )
                )
        if change.put:
            rows = [
                {
                    "endpoint": endpoint_id,
                    "replay": int(replay),
                    "number": request.number,
                    "events": _pack(request.events),
                    "failures": request.failures,
                    "due": request.due,
                    "since": request.since,
                }
                for replay, request in change.put
            ]
            connection.execute(insert(_REQUESTS), rows)

    def forget(self, endpoint_id: str) -> None:
        with self._writing() as connection:
            for table in (_REQUESTS, _STREAMS, _ENDPOINTS):
                connection.execute(delete(table).where(table.c.endpoint == endpoint_id))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction. Raises HistoryAway."""
        with translated(self._where, SQLAlchemyError), self._engine.begin() as connection:
            yield connection


def _requests(connection: Connection, endpoint_id: str) -> dict[bool, list[KeptRequest]]:
    found: dict[bool, list[KeptRequest]] = {False: [], True: []}
    query = select(_REQUESTS).where(_REQUESTS.c.endpoint == endpoint_id).order_by(_REQUESTS.c.number)
    for row in connection.execute(query):
        found[bool(row.replay)].append(KeptRequest(row.number, _unpack(row.events), row.failures, row.due, row.since))
    return found


def sqlite_state(folder: str) -> WebhookTables:
    """In the file state.db of a folder, which is made."""
    from pathlib import Path

    from sqlalchemy import create_engine, event

    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    path = f"{folder}/state.db"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5.0, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_file)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return WebhookTables(engine, path)


def postgres_state(url: str) -> WebhookTables:
    """In a schema of its own. Raises SettingsError."""
    from sqlalchemy import create_engine, event

    from mta.history.postgres import import_driver
    from mta.model.secret_urls import hide_password

    import_driver()
    engine = create_engine(
        "postgresql+psycopg" + url.removeprefix("postgresql"),
        connect_args={"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "floodgate webhooks"},
        pool_pre_ping=True,
        pool_size=2,
    )
    event.listen(engine, "connect", _prepare_session)
    return WebhookTables(engine, hide_password(url))


_SCHEMA: Final = "floodgate_webhooks"


def _prepare_file(connection: Any, record: Any) -> None:
    """After a loss of power the last writes may be missing: then events are told twice, and none is lost."""
    connection.isolation_level = None  # this module says when a transaction begins
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _prepare_session(connection: Any, record: Any) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
    connection.execute(f"SET search_path = {_SCHEMA}")
    connection.execute("SET statement_timeout = 30000")
    connection.execute("SET lock_timeout = 5000")
    # A process that stands still does not keep its locks.
    connection.execute("SET idle_in_transaction_session_timeout = 10000")
    connection.commit()
