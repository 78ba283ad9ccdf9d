"""The limit of open files: a node raises it as far as the system allows, and logs a limit too low for its settings."""

import logging
import resource
from typing import Final

from mta.model.settings import Settings

_ENOUGH: Final = 65536  # as the systemd unit has it; some systems allow a thousand million, and programs that walk them
_BESIDES: Final = 200  # descriptors of a worker that are no connection of SMTP: store, DNS, logs, pipes
_API: Final = 1408  # connections of the API, and what it needs besides

log = logging.getLogger(__name__)


def raise_descriptor_limit() -> int:
    """Raise the limit of this process and of those that it will start; the limit as it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _ENOUGH if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # a sandbox forbids it
        return soft
    return wanted


def warn_of_few_descriptors(settings: Settings, limit: int) -> None:
    """Log one line if a process of the node could need more descriptors than `limit`."""
    roles = settings.node.roles
    worker = _BESIDES
    worker += settings.smtp.max_connections if "smtp" in roles else 0
    worker += settings.delivery.connections if "delivery" in roles else 0
    needed = max(worker if worker > _BESIDES else 0, _API if "api" in roles else 0)
    if limit < needed:
        log.warning(
            "a process may have %d files open, and with these settings one may need %d: raise the hard limit "
            "(LimitNOFILE= of systemd, ulimit -Hn), or lower smtp.max_connections or delivery.connections; with the "
            "limit as it is the API takes fewer connections",
            limit,
            needed,
        )
