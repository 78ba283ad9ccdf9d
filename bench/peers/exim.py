"""Exim as a relay: Debian's package, unpacked, in a mount namespace that knows the account it was built for."""

import os
from pathlib import Path

import psutil

from bench.peers.daemon import Daemon, free_port
from bench.peers.programs import Exim as Programs
from bench.peers.relays import FileQueue, Running

_ACCOUNT, _NUMBER = "Debian-exim", 64_999
_PASSWD = f"{_ACCOUNT}:x:{_NUMBER}:{_NUMBER}::/nonexistent:/usr/sbin/nologin\n"
_GROUP = f"{_ACCOUNT}:x:{_NUMBER}:\n"
# The account exists for the daemon alone, and for as long as it runs.
_START = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"'


def configuration(place: Path, route: str, port: int, held: bool) -> str:
    """Everything to `route`, delivered at once by the process that received it; nobody is asked."""
    host, _, sink = route.rpartition(":")
    return f"""\
primary_hostname = exim.bench.test
spool_directory = {place}/work/spool
log_file_path = {place}/work/log/%slog
pid_file_path = {place}/work/pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts =
host_lookup =
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
smtp_accept_max = 500
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 200
deliver_drop_privilege = true
split_spool_directory = true
message_logs = false
queue_only = {str(held).lower()}
begin routers
all:
  driver = manualroute
  transport = to_sink
  route_list = * {host} byname
  self = send
begin transports
to_sink:
  driver = smtp
  port = {sink}
  hosts_avoid_tls = *
  allow_localhost = true
"""


class Exim:
    """Exim in the comparison."""

    name = "exim"
    durability = (
        "both spool files and their directory are synced before the 250; what was delivered is removed without a sync"
    )

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self.version = f"Exim {programs.version}"

    def configured(self, held: bool) -> str:
        return configuration(Path("DIRECTORY"), "SINK:PORT", 0, held)

    def start(self, place: Path, route: str, held: bool) -> Running:
        port = free_port()
        (place / "exim.conf").write_text(configuration(place, route, port, held))
        (place / "passwd").write_text(Path("/etc/passwd").read_text() + _PASSWD)
        (place / "group").write_text(Path("/etc/group").read_text() + _GROUP)
        for directory in ("work", "work/spool", "work/log"):
            (place / directory).mkdir()
            os.chown(place / directory, _NUMBER, _NUMBER)
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START, str(place)]
        command += [str(self._programs.program), "-C", str(place / "exim.conf"), "-bdf", "-q1m"]
        daemon = Daemon(command, port, place / "log", {"LD_LIBRARY_PATH": self._programs.libraries})
        return _Running(daemon, place / "work" / "spool" / "input", "-H")


class _Running(FileQueue):
    def family(self) -> list[psutil.Process]:
        """None of them: nobody waits for the processes that deliver, so the CPU they used cannot be told."""
        return []
