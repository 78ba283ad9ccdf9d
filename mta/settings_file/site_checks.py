"""Checks of the sites: their names, and that each host and domain belongs to one of them."""

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from mta.model.destination_settings import SiteSettings
from mta.model.errors import BadValue
from mta.policy.routing import queue_domain
from mta.settings_file.convert import key_text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?", re.ASCII)


def checked_sites(sites: Mapping[str, SiteSettings]) -> tuple[dict[str, SiteSettings], list[BadValue]]:
    """The sites with the names of their hosts and domains in the form that queues have, and every fault."""
    made: dict[str, SiteSettings] = {}
    faults: list[BadValue] = []
    owners: dict[tuple[str, str], str] = {}
    for name, site in sites.items():
        if not _NAME.fullmatch(name):
            rule = "is not a name; write letters, digits, _ and -, at most 63, the first a letter or digit"
            faults.append(BadValue(key_text(("sites", name)), f"{name!r} {rule}"))
        hosts = list(_patterns(site.mx, key_text(("sites", name, "mx")), str.lower, faults))
        domains = list(_patterns(site.domains, key_text(("sites", name, "domains")), queue_domain, faults))
        for key, patterns in (("mx", hosts), ("domains", domains)):
            for pattern in patterns:
                owner = owners.setdefault((key, pattern), name)
                if owner != name or patterns.count(pattern) > 1:
                    words = f"{pattern} is in site {owner} already; it belongs to one site, once"
                    faults.append(BadValue(key_text(("sites", name, key)), words))
        made[name] = replace(site, mx=tuple(hosts), domains=tuple(domains))
    return made, faults


def _patterns(
    patterns: tuple[str, ...], field: str, form: Callable[[str], str], faults: list[BadValue]
) -> Iterator[str]:
    """The patterns in one form; the faults of the others go to `faults`."""
    for pattern in patterns:
        star = "*." if pattern.startswith("*.") else ""
        try:
            name = form(pattern[len(star) :].rstrip("."))
        except BadValue as error:
            faults.append(BadValue(field, error.reason))
            continue
        if _HOST.fullmatch(name):
            yield star + name
        else:
            faults.append(BadValue(field, f'{pattern!r} is not a name or "*.parent"'))
