"""The same kinds against a Postfix of our own in a scratch directory, with the same time-outs and retries."""

import pathlib
import re
import smtplib
import time
from collections.abc import Sequence

from bench.peers import programs
from bench.peers.postfix import Postfix
from tests.destinations.kinds import Kind
from tests.destinations.run_floodgate import ATTEMPTS, LARGE, Ended, peers_for
from tests.support.scripted_peer import Peers

_WITHIN = 60.0
_SETTINGS = """\
maillog_file = {place}/maillog
maillog_file_prefixes = {place}
transport_maps = texthash:{place}/transport
relayhost =
message_size_limit = 52428800
smtp_tls_security_level = may
smtp_connect_timeout = 2s
smtp_helo_timeout = 2s
smtp_starttls_timeout = 2s
smtp_mail_timeout = 2s
smtp_rcpt_timeout = 2s
smtp_data_init_timeout = 2s
smtp_data_xfer_timeout = 2s
smtp_data_done_timeout = 2s
smtp_quit_timeout = 2s
smtp_rset_timeout = 2s
smtp_connection_cache_on_demand = no
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
notify_classes =
"""
_SERVICES = "postlog unix-dgram n - n - 1 postlogd\ntlsmgr unix - - n 1000? 1 tlsmgr\n"
_STATUS = re.compile(
    r"to=<a@(?P<name>[^>]+)\.test>, .*?dsn=(?P<dsn>[0-9.]+), "
    r"status=(?P<status>sent|bounced|deferred) \((?P<text>.*?)\)?$"  # a long line is cut off
)
_CODE = re.compile(r"(?:said: |refused to talk to me: |\A)([2-9][0-9]{2})[ -]")
_ENDS = {"sent": "Delivery", "bounced": "Bounce", "deferred": "TransientFailure"}


def version() -> str:
    """Raises programs.Missing."""
    return Postfix(programs.postfix(pathlib.Path("/nonexistent"), print)).version


def run(kinds: Sequence[Kind], folder: pathlib.Path) -> dict[str, Ended]:
    """Raises programs.Missing where Postfix is not installed, or we are not root."""
    postfix = Postfix(programs.postfix(folder / "packages", print))
    place = folder / "postfix"
    place.mkdir()
    peers = peers_for(kinds, folder)
    threads = Peers(*peers.values()).start()
    try:
        routes = [f"{name}.test smtp:[127.0.0.1]:{peer.port}\n" for name, peer in peers.items()]
        (place / "transport").write_text("".join(routes))
        with postfix.start(place, "127.0.0.1:1", False, _SETTINGS.format(place=place), _SERVICES) as relay:
            _send(kinds, relay.smtp)
            return _wait(kinds, place / "maillog", {name: peer.copies for name, peer in peers.items()})
    finally:
        threads.stop()


def _send(kinds: Sequence[Kind], address: str) -> None:
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        for kind in kinds:
            text = LARGE if kind.large else "hello\r\n"
            client.sendmail("from@example.org", f"a@{kind.name}.test", f"Subject: test\r\n\r\n{text}".encode())


def _wait(kinds: Sequence[Kind], log: pathlib.Path, copies: dict[str, list[bytes]]) -> dict[str, Ended]:
    """Until each was sent, bounced, or deferred as often as Floodgate tries."""
    deadline = time.monotonic() + _WITHIN
    over: dict[str, Ended] = {}
    while True:
        found: dict[str, list[re.Match[str]]] = {kind.name: [] for kind in kinds}
        for line in log.read_text(errors="backslashreplace").splitlines() if log.exists() else ():
            status = _STATUS.search(line)
            if status is not None and len(found[status["name"]]) < ATTEMPTS:
                found[status["name"]].append(status)
        for name, some in found.items():
            if name not in over and _is_over(some):
                over[name] = _ended(some, len(copies[name]))
        if len(over) == len(kinds):
            return over
        assert time.monotonic() < deadline, f"no end for {found.keys() - over.keys()}"
        time.sleep(0.1)


def _is_over(statuses: list[re.Match[str]]) -> bool:
    return bool(statuses) and (statuses[-1]["status"] != "deferred" or len(statuses) == ATTEMPTS)


def _ended(statuses: list[re.Match[str]], copies: int) -> Ended:
    last = statuses[-1]
    code = _CODE.search(last["text"])
    return Ended(_ENDS[last["status"]], int(code[1]) if code else 0, copies, len(statuses), last["text"])
