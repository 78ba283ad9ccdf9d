"""A trial of the settings: each address, folder and sending IP and the store are tried once, as by a node that starts.

Nothing stays behind: sockets are closed again, files and folders are removed again, and the store is only read.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from mta.model.errors import SettingsError, StoreDenied, StoreError, StoreForeign, StoreUnsafe
from mta.model.settings import Settings
from mta.net.local_addresses import holds
from mta.ports.node_names import NodeNames
from mta.runtime.data_dir import IDENTITY, identity_of, is_held
from mta.runtime.embedded import binary
from mta.runtime.node_name import BEAT_EVERY, already_used
from mta.runtime.secret_files import faults_of_files
from mta.runtime.sockets import listen
from mta.runtime.wiring.opening import address_of, trouble_of
from mta.runtime.wiring.preflight import try_store

_STORE_WAIT: Final = 3.0  # seconds for the store's answers
_NAME_WATCH: Final = 2 * BEAT_EVERY
_ANOTHER: Final = "let it write there, or give another path"


class Found(NamedTuple):
    """Sentences that begin with the key."""

    faults: list[str]  # it would not start
    warnings: list[str]  # it would start, and do less than the settings say


async def try_out(settings: Settings) -> Found:
    """Everything is tried, whatever fails before."""
    running = is_held(settings.node.data_dir)
    faults = [] if running else [*_of_sockets(settings)]
    faults += [*_of_folder(settings.node.data_dir, "node.data_dir")]
    if (identity := Path(settings.node.data_dir) / IDENTITY).is_file():
        faults += _of_file(identity, "node.data_dir")
    if "journal" in settings.node.roles:
        faults += _of_log(settings.journal.log_path)
    faults += faults_of_files(settings)
    warnings = [*_of_ips(settings)]
    if running:
        warnings.append(
            f"node.data_dir: a node runs in {settings.node.data_dir}, so its addresses and its server are not tried"
        )
    faults += await _of_store(settings, running)
    return Found(faults, warnings)


def _of_sockets(settings: Settings) -> Iterator[str]:
    wanted = [("smtp.listen", address) for address in settings.smtp.listen if "smtp" in settings.node.roles]
    if "api" in settings.node.roles:
        wanted += [("api.listen", settings.api.listen)]
        wanted += [("api.inject_listen", address) for address in settings.api.inject_listen]
    wanted += [("tracking.listen", settings.tracking.listen)] if settings.tracks else []
    for key, address in wanted:
        try:
            listen(address, key).close()
        except SettingsError as error:
            yield str(error)


def _of_folder(path: str, key: str) -> Iterator[str]:
    """The folder, or the first one above it that is there, must take a folder with a file in it."""
    folder = Path(path)
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            yield f"{key}: {folder} is a file, not a folder; give another path"
            return
        with tempfile.TemporaryDirectory(prefix=".floodgate-", dir=folder) as made, tempfile.TemporaryFile(dir=made):
            pass
    except OSError as error:
        yield f"{key}: {folder} cannot be written by this user ({error.strerror}); {_ANOTHER}"


def _of_file(path: Path, key: str) -> Iterator[str]:
    """One that is there must be writable; nothing is written."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
    except OSError as error:
        yield f"{key}: {path} cannot be written by this user ({error.strerror}); {_ANOTHER}"


def _of_log(path: str) -> Iterator[str]:
    if Path(path).is_dir():
        yield f"journal.log_path: {path} is a folder; give the path of a file in it"
    elif Path(path).is_file():
        yield from _of_file(Path(path), "journal.log_path")
    else:
        yield from _of_folder(str(Path(path).parent), "journal.log_path")


def _of_ips(settings: Settings) -> Iterator[str]:
    for name, pool in settings.pools.items() if "delivery" in settings.node.roles else ():
        missing = [ip for ip in pool.ips if not holds(ip)]
        if missing and len(missing) == len(pool.ips):
            yield f"pools.{name}.ips: this host holds none of {', '.join(missing)}: it does not serve the pool"
        elif missing:
            yield f"pools.{name}.ips: this host does not hold {', '.join(missing)}: it sends from the others"


async def _of_store(settings: Settings, running: bool) -> list[str]:
    redis = settings.redis
    if redis.url == "embedded":
        return [] if running else _of_embedded()
    where = address_of(redis.url)
    try:
        store = await try_store(replace(redis, timeout=min(redis.timeout, _STORE_WAIT)))
    except SettingsError as error:
        return [str(error)]
    except StoreUnsafe as error:
        return [f"redis.url: the server at {where} can lose accepted mail: {error}"]
    except (StoreDenied, StoreForeign) as error:
        return [trouble_of(error, redis, redis.url)]
    except StoreError as error:
        return [f"redis.url: the store at {where} does not answer: {error}; start it, or correct the URL"]
    try:
        return [] if running else await _of_name(settings, store.names)
    except StoreError as error:
        return [f"redis.url: the store at {where}: {error}"]
    finally:
        await store.close()


async def _of_name(settings: Settings, names: NodeNames) -> list[str]:
    """A name that moves between two looks is that of a living node."""
    name = settings.node.name
    before, entry = await names.read(name)
    if not before or (entry is not None and entry.identity == identity_of(settings.node.data_dir)):
        return []
    await asyncio.sleep(_NAME_WATCH)
    after, entry = await names.read(name)
    return [already_used(name, entry)] if after and after != before else []


def _of_embedded() -> list[str]:
    try:
        binary()
    except SettingsError as error:
        return [str(error)]
    return []
