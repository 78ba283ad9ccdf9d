"""Postfix as a relay: an instance of its own in a scratch directory, never the one of the system."""

import grp
import os
import pwd
from pathlib import Path

from bench.peers.daemon import Daemon, free_port
from bench.peers.programs import Missing
from bench.peers.programs import Postfix as Programs
from bench.peers.relays import FileQueue, Running

_PRIVATE = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace",
)
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def main_cf(programs: Programs, place: Path, route: str, held: bool) -> str:
    """The settings: relay everything to `route`, ask nobody, limits as TUNING_README and QSHAPE_README say."""
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": place / "queue",
        "data_directory": place / "state",
        "daemon_directory": programs.daemons,
        "command_directory": programs.commands,
        "mail_owner": programs.owner,
        "setgid_group": programs.group,
        "import_environment": "MAIL_CONFIG LD_LIBRARY_PATH",
        "export_environment": "MAIL_CONFIG LD_LIBRARY_PATH",
        "myhostname": "postfix.bench.test",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "mydestination": "",
        "alias_maps": "",
        "alias_database": "",
        "local_recipient_maps": "",
        "relayhost": f"[{route.rpartition(':')[0]}]:{route.rpartition(':')[2]}",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_client_restrictions": "check_client_access static:HOLD" if held else "",
        "smtpd_peername_lookup": "no",
        "smtpd_client_connection_count_limit": "0",
        "smtpd_tls_security_level": "none",
        "smtp_tls_security_level": "none",
        "smtp_dns_support_level": "disabled",
        "smtp_host_lookup": "native",
        "smtp_connection_cache_on_demand": "yes",
        "default_process_limit": "200",
        "initial_destination_concurrency": "20",
        "default_destination_concurrency_limit": "40",
        "in_flow_delay": "0",
        "qmgr_message_active_limit": "20000",
        "qmgr_message_recipient_limit": "20000",
    }
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


class Postfix:
    """Postfix in the comparison."""

    name = "postfix"
    durability = (
        "the queue file is synced before the 250, its directory is not; what was delivered is removed without a sync"
    )

    def __init__(self, programs: Programs) -> None:
        if os.geteuid() != 0:
            raise Missing("Postfix needs root: its daemons run for accounts of their own")
        self._programs = programs
        self.version = f"Postfix {programs.version()}"

    def configured(self, held: bool) -> str:
        return (
            f"master.cf:\n{_MASTER.format(port='PORT')}\n"
            f"main.cf:\n{main_cf(self._programs, Path('DIRECTORY'), 'SINK:PORT', held)}"
        )

    def start(self, place: Path, route: str, held: bool, more: str = "", services: str = "") -> Running:
        """Below `place`; `more` are lines of main.cf that override ours, `services` lines of master.cf beside ours."""
        owner, group = pwd.getpwnam(self._programs.owner).pw_uid, grp.getgrnam(self._programs.group).gr_gid
        port = free_port()
        place.chmod(0o711)  # as the way to it: daemons that gave up root's rights pass through
        config = place / "etc"
        config.mkdir(mode=0o755)
        (config / "main.cf").write_text(main_cf(self._programs, place, route, held) + more)
        (config / "master.cf").write_text(_MASTER.format(port=port) + services)
        queue = place / "queue"
        for directory, mode in ((queue, 0o755), (queue / "pid", 0o755), (place / "state", 0o700)):
            directory.mkdir(mode=mode)
        os.chown(place / "state", owner, 0)
        for name in _PRIVATE:
            (queue / name).mkdir(mode=0o700)
            os.chown(queue / name, owner, 0)
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            (queue / name).mkdir()
            os.chown(queue / name, owner, group)
            (queue / name).chmod(mode)
        environment = self._programs.environment() | {"MAIL_CONFIG": str(config)}
        command = [str(self._programs.daemons / "master"), "-c", str(config), "-d"]
        return FileQueue(Daemon(command, port, place / "log", environment), queue / "hold")
