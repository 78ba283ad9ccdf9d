"""What settings must agree on beyond the type of each key: names, networks, addresses, and one key against another."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from mta.model.errors import BadValue
from mta.model.settings import Address, Settings
from mta.model.text import composed
from mta.model.units import format_duration, parse_address
from mta.policy.routing import queue_domain
from mta.settings_file.convert import key_text
from mta.settings_file.text import hide_password

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.IPv]+\]", re.ASCII)
_HEADER = re.compile(r"[!-9;-~]{1,70}", re.ASCII)
_UNTAGGABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SCHEMES = ("redis", "rediss", "redis+cluster", "unix")


def checked(settings: Settings) -> Settings:
    """`settings` with names brought to one form. Raises BadValue with the key as field."""
    _check_node(settings)
    _check_redis(settings)
    _check_smtp(settings)
    _check_delivery(settings)
    _check_pools(settings)
    _check_api(settings)
    _check_tags(settings.rules.protected_tags, "rules.protected_tags")
    if settings.journal.backlog_soft >= settings.journal.backlog_hard:
        raise BadValue(
            "journal.backlog_soft", f"must be less than journal.backlog_hard ({settings.journal.backlog_hard})"
        )
    if settings.rules.undo_window > settings.status.retention:
        limit = format_duration(settings.status.retention)
        raise BadValue("rules.undo_window", f"must not be longer than status.retention ({limit})")
    delivery = replace(
        settings.delivery, routes=_by_domain(settings.delivery.routes, ("delivery", "routes"), parents=True)
    )
    domains = _by_domain(settings.domains, ("domains",), parents=False)
    rules = replace(settings.rules, protected_tags=tuple(composed(tag) for tag in settings.rules.protected_tags))
    return replace(settings, delivery=delivery, domains=domains, rules=rules)


def _check_node(settings: Settings) -> None:
    if not _NAME.fullmatch(settings.node.name):
        raise BadValue("node.name", f"{settings.node.name!r} {_NAME_RULE}")
    _check_repeats(settings.node.roles, "node.roles")


def _check_redis(settings: Settings) -> None:
    redis = settings.redis
    if redis.url == "embedded":
        for key in ("username", "password_file", "ca_file"):
            if getattr(redis, key):
                raise BadValue(f"redis.{key}", "does nothing with the embedded server; remove it or give redis.url")
        return
    where = urlsplit(redis.url)
    if where.scheme not in _SCHEMES:
        raise BadValue(
            "redis.url",
            f'{hide_password(redis.url)!r} is not "embedded", redis://, rediss://, redis+cluster:// or unix://',
        )
    if where.scheme == "unix" and not where.path:
        raise BadValue("redis.url", "names no socket; write unix:///path/of/the.sock")
    if where.scheme != "unix" and not where.hostname:
        raise BadValue("redis.url", f"names no host; write {where.scheme}://host:6379")
    if redis.ca_file and where.scheme != "rediss":
        raise BadValue("redis.ca_file", "is for rediss:// only; change redis.url or remove it")


def _check_smtp(settings: Settings) -> None:
    smtp = settings.smtp
    if "smtp" in settings.node.roles and not smtp.listen:
        raise BadValue("smtp.listen", "must not be empty; a node that takes no mail leaves smtp out of node.roles")
    _check_repeats([str(address) for address in smtp.listen if address.port], "smtp.listen")
    if not _HOST_NAME.fullmatch(smtp.hostname):
        raise BadValue("smtp.hostname", f"{smtp.hostname!r} is not a host name")
    for network in smtp.trusted_networks:
        _check_network(network, "smtp.trusted_networks")
    for prefix in smtp.header_prefixes:
        if not _HEADER.fullmatch(prefix) or not prefix.endswith("-"):
            raise BadValue("smtp.header_prefixes", f'{prefix!r} is not a header prefix; write one such as "x-mq-"')
    for header in smtp.ignore_headers:
        if not _HEADER.fullmatch(header):
            raise BadValue("smtp.ignore_headers", f"{header!r} is not a header name")
    if not _NAME.fullmatch(smtp.default_pool):
        raise BadValue("smtp.default_pool", f"{smtp.default_pool!r} {_NAME_RULE}")


def _check_delivery(settings: Settings) -> None:
    delivery = settings.delivery
    _check_route(delivery.route, "delivery.route")
    for domain, route in delivery.routes.items():
        _check_route(route, key_text(("delivery", "routes", domain)))
    for server in delivery.dns_servers:
        if not _is_ip(server) and not _is_ip(_target(server, "delivery.dns_servers").host):
            raise BadValue("delivery.dns_servers", f'{server!r} is not an IP address; write "ip" or "ip:port"')
    # Who is given up for dead is waited for no longer: by then its permit of the rule table must have run out.
    least = 2 * settings.rules.max_staleness
    if delivery.lease < least:
        raise BadValue(
            "delivery.lease",
            f"must be at least {format_duration(least)}, twice rules.max_staleness "
            f"({format_duration(settings.rules.max_staleness)}); raise it or lower rules.max_staleness",
        )


def _check_pools(settings: Settings) -> None:
    owner: dict[str, str] = {}
    for name, pool in settings.pools.items():
        if not _NAME.fullmatch(name):
            raise BadValue(key_text(("pools", name)), f"{name!r} {_NAME_RULE}")
        key = f"pools.{name}"
        for ip in pool.ips:
            if not _is_ip(ip):
                raise BadValue(f"{key}.ips", f"{ip!r} is not an IP address")
            first = owner.setdefault(str(ipaddress.ip_address(ip)), name)
            if first != name or pool.ips.count(ip) > 1:
                raise BadValue(f"{key}.ips", f"{ip} is in pool {first} already; an IP belongs to one pool, once")
        for ip in pool.weights:
            if ip not in pool.ips:
                raise BadValue(
                    key_text(("pools", name, "weights", ip)), f"{ip!r} is not one of {key}.ips; add it there"
                )
        if pool.ehlo and not _HOST_NAME.fullmatch(pool.ehlo):
            raise BadValue(f"{key}.ehlo", f"{pool.ehlo!r} is not a host name")


def _check_api(settings: Settings) -> None:
    api = settings.api
    if not api.listen.is_loopback and not api.allow_plaintext:
        raise BadValue(
            "api.listen",
            f"{api.listen} is not a loopback address and tokens would cross the network in the clear; listen on "
            "127.0.0.1 behind a proxy with TLS, or set api.allow_plaintext = true",
        )


def _by_domain(table: Mapping[str, Any], path: tuple[str, ...], *, parents: bool) -> dict[str, Any]:
    """The table under the names that queues have; two keys of one domain are refused."""
    made: dict[str, Any] = {}
    for key, value in table.items():
        star = "*." if parents and key.startswith("*.") else ""
        try:
            domain = queue_domain(key[len(star) :])
        except BadValue as error:
            raise BadValue(key_text((*path, key)), error.reason) from None
        if not _HOST_NAME.fullmatch(domain):
            example = 'a domain or "*.parent"' if parents else "a domain; patterns are not supported here"
            raise BadValue(key_text((*path, key)), f"{key!r} is not {example}")
        if star + domain in made:
            raise BadValue(key_text((*path, key)), f"{star + domain} is given twice; remove one")
        made[star + domain] = value
    return made


def _check_route(route: str, field: str) -> None:
    if route:
        _target(route, field)


def _target(text: str, field: str) -> Address:
    address = parse_address(text, field)
    if address.port == 0:
        raise BadValue(field, f"{text!r} has no port to connect to; write one such as :25")
    return address


def _check_network(text: str, field: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            fix = f'has host bits set; write "{ipaddress.ip_network(text, strict=False)}"'
        except ValueError:
            fix = 'is not a network; write one such as "192.0.2.0/24"'
        raise BadValue(field, f"{text!r} {fix}") from None


def _check_tags(tags: tuple[str, ...], field: str) -> None:
    for tag in tags:
        if _UNTAGGABLE.search(tag) or not 1 <= len(tag.encode("utf-8", "replace")) <= 128:
            raise BadValue(field, f"{tag!r} is not a tag; write 1 to 128 bytes of UTF-8 without control characters")
    _check_repeats(tags, field)


def _check_repeats(items: Any, field: str) -> None:
    seen = set()
    for item in items:
        if item in seen:
            raise BadValue(field, f"{item} is given twice; remove one")
        seen.add(item)


def _is_ip(text: str) -> bool:
    try:
        return "%" not in str(ipaddress.ip_address(text))
    except ValueError:
        return False


_NAME_RULE = "is not a name; write letters, digits, _ and -, at most 63, the first a letter or digit"
