"""Whether a server keeps what it says it has kept: the settings that promise 1 (250 means durable) rests on.

Source: Redis documentation, management/persistence; `appendfsync always` replies only after the group fsync, and
`no-appendfsync-on-rewrite yes` suspends that while a rewrite runs.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from mta.redis_store.replication import History
from mta.redis_store.topology.servers import Master

_NEEDED = {
    "appendonly": ("yes", "set `appendonly yes`, or accepted mail is lost at a restart"),
    "appendfsync": ("always", "set `appendfsync always`, or accepted mail is lost at a power failure"),
    "no-appendfsync-on-rewrite": ("no", "set `no-appendfsync-on-rewrite no`, or nothing is synced during a rewrite"),
    "maxmemory-policy": ("noeviction", "set `maxmemory-policy noeviction`, or queued mail is evicted"),
}


class Found(NamedTuple):
    """The findings of `inspect` at the masters."""

    run_ids: set[bytes]
    problems: list[str]
    servers: list[str]  # the server of each problem, "" where there is only one
    replicas: int  # how many replicas must have a write, by the strictest of them
    read_only: bool  # the only server is a replica, and takes no writes
    histories: list[History]

    def said(self) -> str:
        """The problems, with their servers in a Cluster."""
        pairs = zip(self.servers, self.problems, strict=True)
        return "; ".join(f"{server}: {problem}" if server else problem for server, problem in pairs)

    def named(self) -> str:
        """The problems alone."""
        return "; ".join(dict.fromkeys(self.problems))


def run_id(info: Any) -> bytes:
    """The run id in an answer to INFO."""
    raw = info.encode() if isinstance(info, str) else bytes(info)
    for line in raw.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].strip()
    return b""


async def inspect(masters: Iterable[Master]) -> Found:
    """Ask every master for its settings and its persistence."""
    found = Found(set(), [], [], 0, False, [])
    for master in masters:
        one = await _inspect_one(master)
        found.run_ids.update(one.run_ids)
        found.problems.extend(one.problems)
        found.servers.extend(one.servers)
        found.histories.extend(one.histories)
        found = found._replace(replicas=max(found.replicas, one.replicas), read_only=found.read_only or one.read_only)
    return found


async def _inspect_one(master: Master) -> Found:
    """Three commands, since every process asks once a second."""
    info = plain(await master.command("INFO", "server"))
    run_ids = {str(info.get("run_id", "")).encode()}
    version = _version(info)
    if version < (7, 0):
        words = f"server version {'.'.join(map(str, version))}: 7.0 or later is needed for Functions"
        return Found(run_ids, [words], [master.name], 0, False, [])
    try:
        settings = plain(await master.command("CONFIG GET", *_NEEDED, "min-replicas-to-write"))
    except ResponseError as error:
        words = f"CONFIG may not be read ({error}): allow CONFIG GET, so that durability can be checked"
        return Found(run_ids, [words], [master.name], 0, False, [])
    problems = [
        f"{name} is {settings.get(name) or 'unknown'}: {fix}"
        for name, (wanted, fix) in _NEEDED.items()
        if settings.get(name, "") != wanted
    ]
    state = plain(await master.command("INFO", "persistence", "replication"))
    if str(state.get("aof_last_write_status", "ok")) != "ok":
        problems.append("aof_last_write_status is not ok: the server cannot write its append-only file")
    # A Cluster's client finds the new master by itself.
    read_only = not master.name and str(state.get("role", "master")) != "master"
    history = History.of(state)
    return Found(
        run_ids,
        problems,
        [master.name] * len(problems),
        int(settings.get("min-replicas-to-write", 0)),
        read_only,
        [] if history is None else [history],
    )


def plain(answer: Any) -> dict[str, Any]:
    """Redis clients answer CONFIG GET and INFO as mappings of bytes or str."""
    if isinstance(answer, dict):
        if len(answer) == 1 and isinstance(next(iter(answer.values())), dict):
            return plain(next(iter(answer.values())))
        return {_text(key): _text(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return {_text(answer[i]): _text(answer[i + 1]) for i in range(0, len(answer), 2)}
    pairs = (line.partition(":") for line in _text(answer).splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _version(info: dict[str, Any]) -> tuple[int, ...]:
    # Valkey tells Redis clients redis_version 7.2.4 beside its own.
    raw = info.get("valkey_version") or info.get("redis_version") or "0.0"
    return tuple(int(part) for part in str(raw).split(".")[:2])
