"""Settings of destinations: the limits of domains and sites, the TLS to them, and relays."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mta.model.setting_units import Seconds


class RelaySettings(Struct, frozen=True, kw_only=True):
    """A relay that takes mail for other domains; `delivery.route` and `delivery.routes` name it as "relay:NAME"."""

    host: Annotated[str, Meta(description="Host name or address of the relay.")] = ""
    port: Annotated[
        int, Meta(ge=1, le=65535, description="Port of the relay; 465 = TLS from the first byte (RFC 8314).")
    ] = 587
    tls: Annotated[
        Literal["verified", "required", "opportunistic", "none"],
        Meta(
            description='TLS: "verified" (the certificate must name the host), "required", "opportunistic" or "none".'
        ),
    ] = "verified"
    ca_file: Annotated[
        str, Meta(description='PEM file that the relay\'s certificate is checked with; "" = delivery.ca_file.')
    ] = ""
    username: Annotated[str, Meta(description='Name for AUTH (PLAIN or LOGIN), only over TLS; "" = no AUTH.')] = ""
    password_file: Annotated[str, Meta(description="File whose first line is the password for AUTH.")] = ""


class LimitSettings(Struct, frozen=True, kw_only=True):
    """Limits of connections and messages, over all nodes."""

    connections: Annotated[int, Meta(ge=0, description="Most connections at once; 0 = no limit.")] = 0
    messages_per_connection: Annotated[
        int, Meta(ge=0, description="Most messages of one connection; 0 = no limit.")
    ] = 0
    messages_per_minute: Annotated[float, Meta(ge=0, description="Most messages a minute; 0 = no limit.")] = 0.0
    connections_per_minute: Annotated[float, Meta(ge=0, description="Most new connections a minute; 0 = no limit.")] = (
        0.0
    )


class DestinationSettings(LimitSettings, frozen=True, kw_only=True):
    """Limits of a destination, the TLS to it, and the schedule of its retries."""

    tls: Annotated[
        Literal["", "opportunistic", "required", "verified", "none"],
        Meta(description='TLS to its hosts, as delivery.tls; "" = that of the site, else delivery.tls.'),
    ] = ""
    retries: Annotated[
        tuple[Annotated[Seconds, Meta(ge=1)], ...],
        Meta(description="Waits between attempts, the last one repeats; [] = those of the site, else of [delivery]."),
    ] = ()
    max_age: Annotated[
        Seconds,
        Meta(
            ge=0,
            description="Mail that cannot be delivered expires after this time, where that is sooner than by the "
            'message or delivery.max_age; "0s" = that of the site, else no time of its own.',
        ),
    ] = 0.0


class DomainSettings(DestinationSettings, frozen=True, kw_only=True):
    """Limits of a destination domain, or of each domain below "*.parent", for each pool, over all nodes."""


class SiteSettings(DestinationSettings, frozen=True, kw_only=True):
    """Limits of a destination site: all domains whose mail one provider takes. They hold for all pools together."""

    mx: Annotated[
        tuple[str, ...], Meta(description='MX hosts of the site, by name or "*.parent": ["*.google.com"].')
    ] = ()
    domains: Annotated[
        tuple[str, ...], Meta(description='Domains of the site whatever their MX hosts are, by name or "*.parent".')
    ] = ()
    per_ip: Annotated[
        LimitSettings,
        Meta(description="Limits of each sending IP (of each node where the system chooses the IP): the same keys."),
    ] = LimitSettings()
