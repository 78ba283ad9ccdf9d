"""Warnings about settings that are valid but probably a mistake: the node starts with them and logs the warning."""

import ipaddress
from collections.abc import Iterator

from mta.model.secret_urls import has_password
from mta.model.settings import Settings
from mta.model.units import format_duration

# By IP version: networks with a shorter prefix belong to more than one organisation.
_WIDE = {4: 8, 6: 7}  # 10.0.0.0/8, fc00::/7
_WIDE_GLOBAL = {4: 16, 6: 32}


def warnings_of(settings: Settings) -> list[str]:
    """A sentence each, which begins with the key."""
    found = (_of_networks, _of_pools, _of_times, _of_secrets, _of_reactions)
    return [words for warn in found for words in warn(settings)]


def _of_networks(settings: Settings) -> Iterator[str]:
    if "smtp" not in settings.node.roles:
        return
    for text in settings.smtp.trusted_networks:
        network = ipaddress.ip_network(text)
        whole, version = network.prefixlen == 0, network.version
        if network.prefixlen < (_WIDE_GLOBAL if network.is_global else _WIDE)[version]:
            whom = "everyone" if whole else f"{network.num_addresses:,} addresses"
            yield (
                f"smtp.trusted_networks: {text} lets {whom} send mail through this node and use injection headers; "
                "name the networks of your own senders"
            )


def _of_pools(settings: Settings) -> Iterator[str]:
    default = settings.smtp.default_pool
    if "smtp" in settings.node.roles and default not in settings.pools:
        yield (
            f"smtp.default_pool: mail that names no pool goes to {default!r}, which [pools] does not have: it waits "
            f"until a node serves that pool; add [pools.{default}], or name another pool"
        )


def _of_reactions(settings: Settings) -> Iterator[str]:
    for one in settings.reactions:
        if one.site and "." not in one.site and one.site not in settings.sites:
            yield (
                f"reactions: {one.name} is about the site {one.site}, which [sites] does not have: it counts no reply; "
                "name a site of [sites], or the organisational domain of the MX hosts"
            )


def _of_times(settings: Settings) -> Iterator[str]:
    delivery = settings.delivery
    if delivery.max_age <= delivery.retries[0]:
        yield (
            f"delivery.max_age: mail expires after {format_duration(delivery.max_age)}, before its first retry "
            f'({format_duration(delivery.retries[0])}); a number without a unit is seconds, write "3d" for three days'
        )
    if delivery.dot_timeout < 60:
        yield (
            f"delivery.dot_timeout: {format_duration(delivery.dot_timeout)} is less than busy destinations take to "
            "answer (RFC 5321 4.5.3.2.6: 10 minutes); mail whose reply comes later is delivered twice"
        )


def _of_secrets(settings: Settings) -> Iterator[str]:
    redis = settings.redis
    if has_password(redis.url):
        yield (
            "redis.url: a password there can be read wherever the settings can, and in the list of processes if it was "
            "given with --set; put it into a file and name that with redis.password_file"
        )
    if redis.allow_unsafe:
        yield "redis.allow_unsafe: mail is accepted although the server may lose it; remove the key where mail matters"
    api = settings.api
    for key, address in (("api.listen", api.listen), *(("api.inject_listen", one) for one in api.inject_listen)):
        if api.allow_plaintext and not address.is_loopback:
            yield (
                f"{key}: tokens cross the network to {address} in the clear; listen on 127.0.0.1 behind a proxy with "
                "TLS"
            )
