"""Settings about what becomes of mail: the log, history, statuses, webhooks, alerts, opens and clicks."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mta.model.setting_units import Address, Bytes, Seconds


class JournalSettings(Struct, frozen=True, kw_only=True):
    """The delivery log, and the spool that takes events from the store for it."""

    log_path: Annotated[str, Meta(description='The delivery log; "" = <data_dir>/log/delivery.jsonl.')] = ""
    backlog_soft: Annotated[int, Meta(ge=1, description="Unwritten event entries of a lane at which sweeps wait.")] = (
        20000
    )
    backlog_hard: Annotated[
        int, Meta(ge=1, description="Unwritten event entries of a lane at which when_behind applies.")
    ] = 100000
    when_behind: Annotated[
        Literal["refuse", "drop"],
        Meta(description='"refuse" new mail with 452, or "drop" the oldest events and log a gap.'),
    ] = "refuse"
    spool_max: Annotated[
        Bytes,
        Meta(
            ge=16 * 1024**2,
            description="Most that <data_dir>/journal keeps for a log that fails; beyond it events stay in Redis.",
        ),
    ] = 10 * 1024**3


class HistorySettings(Struct, frozen=True, kw_only=True):
    """History: lists, searches, exports and statistics read it."""

    url: Annotated[
        str,
        Meta(
            description='"sqlite" (files in <data_dir>/history of one node), postgresql://user@host/database, or "": '
            "none is kept."
        ),
    ] = "sqlite"
    retention: Annotated[
        Seconds, Meta(ge=86400, description="How long a day is kept after something was written to it last.")
    ] = 2592000.0


class SuppressionSettings(Struct, frozen=True, kw_only=True):
    """Suppressions that Floodgate makes by itself."""

    auto: Annotated[
        tuple[Literal["hard_bounce", "unsubscribe"], ...],
        Meta(
            description="hard_bounce: an address that bounced, where the recipient is at fault; unsubscribe: a "
            "recipient who has unsubscribed by one click."
        ),
    ] = ("hard_bounce", "unsubscribe")


class TrackingSettings(Struct, frozen=True, kw_only=True):
    """Opens of mail and clicks in it, for messages that ask for it."""

    url: Annotated[
        str,
        Meta(
            description="Base of the links in tracked mail, such as https://click.example.com: a host of its own, "
            'whose proxy leads to tracking.listen; "" = off. Keep it while mail with such links is read.'
        ),
    ] = ""
    listen: Annotated[Address, Meta(description="Address to listen on where url is set; port 0 = any free one.")] = (
        Address("127.0.0.1", 8081)
    )
    trusted_proxies: Annotated[
        tuple[str, ...], Meta(description="Networks whose X-Forwarded-For names the reader's address.")
    ] = ("127.0.0.0/8", "::1/128")


class AlertsSettings(Struct, frozen=True, kw_only=True):
    """Mail to the operators about events that need them."""

    to: Annotated[
        tuple[str, ...],
        Meta(description="Addresses that get a mail when a brake is pulled; the nodes queue it like other mail."),
    ] = ()


class StatusSettings(Struct, frozen=True, kw_only=True):
    """The status of deliveries that have ended."""

    retention: Annotated[Seconds, Meta(ge=60, description="How long the status of an ended delivery can be read.")] = (
        86400.0
    )


class WebhookSettings(Struct, frozen=True, kw_only=True):
    """Requests to the webhook endpoints of senders."""

    allow_networks: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks such as 10.1.0.0/16 whose addresses endpoints may have although they are private; "
            "only there may a URL begin with http://."
        ),
    ] = ()
    timeout: Annotated[Seconds, Meta(ge=0.1, le=300, description="Longest wait for the answer of an endpoint.")] = 15.0
