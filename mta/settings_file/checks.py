"""Checks of settings beyond the type of each key: names, networks, addresses, and one key against another."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from mta.model.destination_settings import RelaySettings
from mta.model.errors import BadValue
from mta.model.events import BY_MX
from mta.model.reactions import ReactionSettings
from mta.model.replies import NAME
from mta.model.secret_urls import has_password, hide_password
from mta.model.settings import Address, RedisSettings, Settings
from mta.model.store_urls import is_sentinel_url, parse_sentinel_url
from mta.model.text import composed
from mta.model.units import format_duration, parse_address
from mta.policy.pools import faults_of, normal_ip
from mta.policy.routes import route_of
from mta.policy.routing import queue_domain
from mta.policy.tls import IMPLICIT_PORT
from mta.settings_file.convert import key_text
from mta.settings_file.site_checks import checked_sites
from mta.smtp.grammar import parse_mailbox

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.IPv]+\]", re.ASCII)
_HEADER = re.compile(r"[!-9;-~]{1,70}", re.ASCII)
_UNTAGGABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CHANGED_LATER = ("received", "return-path", "dkim-signature", "authentication-results", "bcc")  # RFC 6376 5.4
Faults = Iterator[BadValue]
_SCHEMES = ("redis", "rediss", "redis+cluster", "unix")  # and those of sentinels
_KINDS = "redis://, rediss://, redis+cluster://, redis+sentinel:// or unix://"


def checked(settings: Settings) -> tuple[Settings, list[BadValue]]:
    """`settings` with names brought to one form, and every fault, with the key as field."""
    faults: list[BadValue] = []
    for check in _CHECKS:
        faults += check(settings)
    routes, bad_routes = _by_domain(settings.delivery.routes, ("delivery", "routes"))
    domains, bad_domains = _by_domain(settings.domains, ("domains",))
    sites, bad_sites = checked_sites(settings.sites)
    reactions = tuple(_named_reactions(settings.reactions))
    delivery = replace(settings.delivery, routes=routes)
    rules = replace(settings.rules, protected_tags=tuple(composed(tag) for tag in settings.rules.protected_tags))
    settings = replace(settings, delivery=delivery, sites=sites, domains=domains, rules=rules, reactions=reactions)
    return settings, [*faults, *bad_routes, *bad_sites, *bad_domains]


def _named_reactions(reactions: tuple[ReactionSettings, ...]) -> Iterator[ReactionSettings]:
    """Those without a name get one: the site and a number."""
    for number, one in enumerate(reactions, 1):
        yield one if one.name else replace(one, name=f"{one.site or 'any'}-{number}")


def _check_reactions(settings: Settings) -> Faults:
    if not settings.reactions:
        return
    from mta.policy.reactions import faults_of  # only nodes that have reactions need RE2 here

    names: set[str] = set()
    for one in _named_reactions(settings.reactions):
        for fault in faults_of(one):
            yield BadValue("reactions", f"{one.name}: {fault}")
        if one.name in names:
            yield BadValue("reactions", f"{one.name}: name: another reaction has it; give each one its own")
        names.add(one.name)


def _check_times(settings: Settings) -> Faults:
    journal = settings.journal
    if journal.backlog_soft >= journal.backlog_hard:
        yield BadValue("journal.backlog_soft", f"must be less than journal.backlog_hard ({journal.backlog_hard})")
    if settings.rules.undo_window > settings.status.retention:
        limit = format_duration(settings.status.retention)
        yield BadValue("rules.undo_window", f"must not be longer than status.retention ({limit})")


def _check_replies(settings: Settings) -> Faults:
    if not settings.replies:
        return
    from mta.policy.replies import fault_of  # only nodes that have entries of their own need RE2 here

    for name, entry in settings.replies.items():
        if re.fullmatch(NAME, name) is None:
            yield BadValue(key_text(("replies", name)), "must be 1 to 63 of a-z, 0-9, . _ and -")
        fault = fault_of(entry)
        if fault is not None:
            yield BadValue(key_text(("replies", name, fault.field)), fault.reason)


def _check_alerts(settings: Settings) -> Faults:
    for address in settings.alerts.to:
        try:
            parse_mailbox(address, "alerts.to")
        except BadValue as fault:
            yield BadValue("alerts.to", f"{address!r} {fault.reason}")
    yield from _check_repeats(settings.alerts.to, "alerts.to")


def _check_node(settings: Settings) -> Faults:
    if not _NAME.fullmatch(settings.node.name):
        yield BadValue("node.name", f"{settings.node.name!r} {_NAME_RULE}")
    yield from _check_repeats(settings.node.roles, "node.roles")


def _check_redis(settings: Settings) -> Faults:
    """No sentence here shows a part of the URL that may be a password."""
    redis = settings.redis
    if redis.url == "embedded":
        for key in ("username", "password_file", "ca_file"):
            if getattr(redis, key):
                yield BadValue(f"redis.{key}", "does nothing with the embedded server; remove it or give redis.url")
        return
    if is_sentinel_url(redis.url):
        yield from _check_sentinel_url(redis)
        return
    try:
        where = urlsplit(redis.url)
        _ = where.hostname, where.port
    except ValueError:
        yield BadValue("redis.url", _UNREADABLE)
        return
    scheme = where.scheme
    if scheme not in _SCHEMES:
        shown = hide_password(redis.url)
        yield BadValue("redis.url", f'{shown!r} is not "embedded", {_KINDS}')
        return
    if scheme == "unix" and not where.path:
        yield BadValue("redis.url", "names no socket; write unix:///path/of/the.sock")
    elif scheme != "unix" and "@" in redis.url.partition("://")[2] and "@" not in where.netloc:
        yield BadValue("redis.url", _UNREADABLE)
    elif scheme != "unix" and not where.hostname:
        yield BadValue("redis.url", f"names no host; write {scheme}://host:6379")
    if redis.password_file and has_password(redis.url):
        yield BadValue("redis.password_file", "redis.url holds a password, too; remove it there")
    if redis.ca_file and scheme != "rediss":
        yield BadValue("redis.ca_file", _NEEDS_TLS)


def _check_sentinel_url(redis: RedisSettings) -> Faults:
    try:
        where = parse_sentinel_url(redis.url)
    except BadValue as fault:
        yield fault
        return
    if redis.password_file and where.password is not None:
        yield BadValue("redis.password_file", "redis.url holds a password, too; remove it there")
    if redis.ca_file and not where.tls:
        yield BadValue("redis.ca_file", _NEEDS_TLS)


def _check_history(settings: Settings) -> Faults:
    """No sentence here shows a part of the URL that may be a password."""
    url = settings.history.url
    if url in ("", "sqlite"):
        return
    scheme, _, rest = url.partition("://")
    if scheme != "postgresql":
        yield BadValue("history.url", f'{hide_password(url)!r} is not "sqlite", postgresql:// or ""')
    elif not rest.rpartition("@")[2].partition("/")[2].partition("?")[0]:
        yield BadValue("history.url", "names no database; write postgresql://user@host/database")


def _check_smtp(settings: Settings) -> Faults:
    smtp = settings.smtp
    if "smtp" in settings.node.roles and not smtp.listen:
        yield BadValue("smtp.listen", "must not be empty; a node that takes no mail leaves smtp out of node.roles")
    yield from _check_repeats([str(address) for address in smtp.listen if address.port], "smtp.listen")
    if not _HOST_NAME.fullmatch(smtp.hostname):
        yield BadValue("smtp.hostname", f"{smtp.hostname!r} is not a host name")
    for network in smtp.trusted_networks:
        yield from _check_network(network, "smtp.trusted_networks")
    for prefix in smtp.header_prefixes:
        if not _HEADER.fullmatch(prefix) or not prefix.endswith("-"):
            yield BadValue("smtp.header_prefixes", f'{prefix!r} is not a header prefix; write one such as "x-mq-"')
    for header in smtp.ignore_headers:
        if not _HEADER.fullmatch(header):
            yield BadValue("smtp.ignore_headers", f"{header!r} is not a header name")
    if not _NAME.fullmatch(smtp.default_pool):
        yield BadValue("smtp.default_pool", f"{smtp.default_pool!r} {_NAME_RULE}")


def _check_webhooks(settings: Settings) -> Faults:
    for network in settings.webhooks.allow_networks:
        yield from _check_network(network, "webhooks.allow_networks")


def _check_dkim(settings: Settings) -> Faults:
    dkim = settings.dkim
    if dkim.default_domain and ("." not in dkim.default_domain or not _HOST_NAME.fullmatch(dkim.default_domain)):
        yield BadValue("dkim.default_domain", f"{dkim.default_domain!r} is not a domain that can sign mail")
    for header in dkim.oversign:
        if not _HEADER.fullmatch(header):
            yield BadValue("dkim.oversign", f"{header!r} is not a header name")
        elif header.lower() in _CHANGED_LATER:
            yield BadValue("dkim.oversign", f"{header!r} is changed on the way, and signatures would break; remove it")


def _check_messages(settings: Settings) -> Faults:
    domain = settings.messages.simulate_domain
    if "." not in domain or not _HOST_NAME.fullmatch(domain) or domain != domain.lower():
        yield BadValue("messages.simulate_domain", f"{domain!r} is not a domain in lower case")


def _check_delivery(settings: Settings) -> Faults:
    delivery = settings.delivery
    yield from _check_route(delivery.route, "delivery.route", settings.relays)
    for domain, routes in delivery.routes.items():
        key = key_text(("delivery", "routes", domain))
        for route in routes:
            yield from _check_route(route, key, settings.relays)
        yield from _check_repeats([route or BY_MX for route in routes], key)
    for server in delivery.dns_servers:
        yield from _check_dns_server(server)
    # Orders stop waiting for a process that is taken for dead, so its permit must have run out by then.
    least = 2 * settings.rules.max_staleness
    if delivery.lease < least:
        yield BadValue(
            "delivery.lease",
            f"must be at least {format_duration(least)}, twice rules.max_staleness "
            f"({format_duration(settings.rules.max_staleness)}); raise it or lower rules.max_staleness",
        )


def _check_pools(settings: Settings) -> Faults:
    owner: dict[str, str] = {}
    for name, pool in settings.pools.items():
        if not _NAME.fullmatch(name) and name != settings.smtp.default_pool:
            yield BadValue(key_text(("pools", name)), f"{name!r} {_NAME_RULE}")
        for fault in faults_of(pool):
            yield BadValue(f"{key_text(('pools', name))}.{fault.field}", fault.reason)
        for ip in pool.ips:
            first = owner.setdefault(normal_ip(ip) or ip, name)
            if first != name:
                yield BadValue(f"pools.{name}.ips", f"{ip} is in pool {first} already; an IP belongs to one pool, once")


def _check_api(settings: Settings) -> Faults:
    api = settings.api
    yield from _check_repeats([str(address) for address in api.inject_listen if address.port], "api.inject_listen")
    for key, address in (("api.listen", api.listen), *(("api.inject_listen", one) for one in api.inject_listen)):
        if not address.is_loopback and not api.allow_plaintext:
            yield BadValue(
                key,
                f"{address} is not a loopback address and tokens would cross the network in the clear; listen on "
                "127.0.0.1 behind a proxy with TLS, or set api.allow_plaintext = true",
            )


def _check_tracking(settings: Settings) -> Faults:
    tracking = settings.tracking
    where = urlsplit(tracking.url)
    is_plain = not (where.query or where.fragment or where.username or where.password)
    if tracking.url and not (where.scheme in ("http", "https") and where.hostname and is_plain):
        yield BadValue("tracking.url", f'{tracking.url!r} is not a base such as "https://click.example.com"; "" = off')
    for network in tracking.trusted_proxies:
        yield from _check_network(network, "tracking.trusted_proxies")


def _check_rules(settings: Settings) -> Faults:
    yield from _check_tags(settings.rules.protected_tags, "rules.protected_tags")


def _by_domain(table: Mapping[str, Any], path: tuple[str, ...]) -> tuple[dict[str, Any], list[BadValue]]:
    """The table under the names that queues have, and its faults: two keys of one domain are one."""
    made: dict[str, Any] = {}
    faults: list[BadValue] = []
    for key, value in table.items():
        star = "*." if key.startswith("*.") else ""
        try:
            domain = queue_domain(key[len(star) :])
        except BadValue as error:
            faults.append(BadValue(key_text((*path, key)), error.reason))
            continue
        if not _HOST_NAME.fullmatch(domain):
            faults.append(BadValue(key_text((*path, key)), f'{key!r} is not a domain or "*.parent"'))
        elif star + domain in made:
            faults.append(BadValue(key_text((*path, key)), f"{star + domain} is given twice; remove one"))
        else:
            made[star + domain] = value
    return made, faults


def _check_route(route: str, field: str, relays: Mapping[str, RelaySettings]) -> Faults:
    try:
        named = route_of(route, relays, field)
    except BadValue as fault:
        yield fault
        return
    if named.address is not None and not named.relay:
        yield from _target(route, field)[1]


def _check_relays(settings: Settings) -> Faults:
    for name, relay in settings.relays.items():
        key = key_text(("relays", name))
        if not _NAME.fullmatch(name):
            yield BadValue(key, f"{name!r} {_NAME_RULE}")
        if not _HOST_NAME.fullmatch(relay.host) and not _is_ip(relay.host):
            yield BadValue(f"{key}.host", f"{relay.host!r} is not a host name or an address; write that of the relay")
        if relay.tls not in ("verified", "required"):
            fix = 'set tls = "verified" or "required"'
            if relay.username:
                yield BadValue(f"{key}.tls", f"{relay.tls!r} could send the password in clear text; {fix}")
            if relay.port == IMPLICIT_PORT:
                yield BadValue(f"{key}.tls", f"port {IMPLICIT_PORT} speaks TLS from its first byte; {fix}")
        if bool(relay.username) is not bool(relay.password_file):
            missing = "password_file" if relay.username else "username"
            yield BadValue(f"{key}.{missing}", "AUTH needs a username and a password_file; give both or neither")


def _check_dns_server(server: str) -> Faults:
    if _is_ip(server):
        return
    address, faults = _target(server, "delivery.dns_servers")
    yield from faults
    if address is not None and not _is_ip(address.host):
        yield BadValue("delivery.dns_servers", f'{server!r} is not an IP address; write "ip" or "ip:port"')


def _target(text: str, field: str) -> tuple[Address | None, list[BadValue]]:
    """An address that can be connected to, or its fault."""
    try:
        address = parse_address(text, field)
    except BadValue as fault:
        return None, [fault]
    if address.port == 0:
        return None, [BadValue(field, f"{text!r} has no port to connect to; write one such as :25")]
    return address, []


def _check_network(text: str, field: str) -> Faults:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            fix = f'has host bits set; write "{ipaddress.ip_network(text, strict=False)}"'
        except ValueError:
            fix = 'is not a network; write one such as "192.0.2.0/24"'
        yield BadValue(field, f"{text!r} {fix}")


def _check_tags(tags: tuple[str, ...], field: str) -> Faults:
    for tag in tags:
        if _UNTAGGABLE.search(tag) or not 1 <= len(tag.encode("utf-8", "replace")) <= 128:
            yield BadValue(field, f"{tag!r} is not a tag; write 1 to 128 bytes of UTF-8 without control characters")
    yield from _check_repeats(tags, field)


def _check_repeats(items: Any, field: str) -> Faults:
    for item in sorted({item for item in items if list(items).count(item) > 1}):
        yield BadValue(field, f"{item} is given twice; remove one")


def _is_ip(text: str) -> bool:
    try:
        return "%" not in str(ipaddress.ip_address(text))
    except ValueError:
        return False


_NAME_RULE = "is not a name; write letters, digits, _ and -, at most 63, the first a letter or digit"
_UNREADABLE = (
    "is not a URL that can be read (a password in a URL must be percent-encoded); write redis://host:6379 and give the "
    "password with redis.password_file"
)
_NEEDS_TLS = "is for rediss:// and rediss+sentinel:// only; change redis.url or remove it"
_CHECKS = (
    _check_alerts,
    _check_node,
    _check_redis,
    _check_history,
    _check_smtp,
    _check_dkim,
    _check_webhooks,
    _check_messages,
    _check_delivery,
    _check_relays,
    _check_pools,
    _check_api,
    _check_tracking,
    _check_rules,
    _check_times,
    _check_replies,
    _check_reactions,
)
