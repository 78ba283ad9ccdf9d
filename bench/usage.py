"""The resources of a run: CPU and memory of its processes by role, and the memory that the server reports."""

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import psutil

_LOOKS = 20
_BETWEEN_LOOKS = 0.25  # seconds
_BUFFERS = ("mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer")
_LITTLE = 8192  # bytes
_TITLE = "floodgate: "  # of a process of a node, before its module


def server_version(processes: list[psutil.Process]) -> str:
    """The version line of the embedded server among `processes`; "" without one."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may be a copy that rewrites the file of the server
            if "valkey" in process.name() or "redis" in process.name():
                said = subprocess.run([process.exe(), "--version"], capture_output=True, text=True, check=False)
                return said.stdout.strip()
    return ""


def by_role(processes: list[psutil.Process]) -> dict[str, psutil.Process]:
    """The processes that are still there, by what they do; roles that are there twice are numbered."""
    found: dict[str, psutil.Process] = {}
    for process in processes:
        try:
            role = _role(process.cmdline(), process.name())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        name, number = role, 1
        while name in found:
            number += 1
            name = f"{role} {number}"
        found[name] = process
    return found


def usage(processes: list[psutil.Process]) -> dict[str, dict[str, float]]:
    """CPU seconds (user and system) and peak resident MiB so far, by role."""
    found: dict[str, dict[str, float]] = {}
    for name, process in by_role(processes).items():
        try:
            times = process.cpu_times()
            peak = _peak_mib(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        found[name] = {"cpu_seconds": round(times.user + times.system, 2), "peak_rss_mib": peak}
    return found


def spent(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The resources that each role used between two looks."""
    return {
        role: {
            "cpu_seconds": round(use["cpu_seconds"] - before.get(role, {}).get("cpu_seconds", 0.0), 2),
            "peak_rss_mib": use["peak_rss_mib"],
        }
        for role, use in after.items()
    }


def reset_peaks(processes: list[psutil.Process]) -> None:
    """From now on the peaks are those of what comes (proc(5), clear_refs)."""
    for process in processes:
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def server_memory(url: str) -> dict[str, int]:
    """`used_memory` and its peak, and what of it are buffers of clients and of the append-only file, in bytes, as the
    server behind a `unix://` URL says them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(30.0)
        link.connect(url.removeprefix("unix://"))
        link.sendall(b"INFO memory\r\n")
        with link.makefile("rb") as answer:
            text = answer.read(int(answer.readline()[1:])).decode()
    said = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    figures = {name: int(said[name]) for name in ("used_memory", "used_memory_peak")}
    return figures | {"buffers": sum(int(said.get(name, 0)) for name in _BUFFERS)}


def settled_memory(url: str) -> int:
    """`used_memory` besides buffers, once it falls no more: memory that was freed lately is gone."""
    least = _kept(url)
    for _ in range(_LOOKS):
        time.sleep(_BETWEEN_LOOKS)
        before, least = least, min(least, _kept(url))
        if before - least < _LITTLE:
            break
    return least


def _kept(url: str) -> int:
    found = server_memory(url)
    return found["used_memory"] - found["buffers"]


def _role(command: list[str], name: str) -> str:
    if "valkey" in name or "redis" in name:
        return "valkey"
    words = " ".join(command).strip()
    if words.startswith(_TITLE):
        return words.removeprefix(_TITLE).removeprefix("mta.runtime.")
    if "-m" in command[:-1]:
        module = command[command.index("-m") + 1]
        if module == "mta.runtime.launch":  # it runs a module of the node
            module = command[-1]
        return "node" if module == "mta.cli.main" else module.removeprefix("mta.runtime.").removeprefix("mta.")
    return "node" if "node" in command else name


def _peak_mib(process: psutil.Process) -> float:
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    return round(float(process.memory_info().rss) / 2**20, 1)
