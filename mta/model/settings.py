"""Settings: every key with its type, default, bounds and one line of prose.

In these structs durations are seconds, sizes bytes, rates per second, whatever unit they were written in. The
annotations are the only source of the prose in `config/floodgate.toml` and of the bounds that a file is held to.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mta.model.destination_settings import DomainSettings, RelaySettings, SiteSettings
from mta.model.event_settings import (
    AlertsSettings,
    HistorySettings,
    JournalSettings,
    StatusSettings,
    SuppressionSettings,
    TrackingSettings,
    WebhookSettings,
)
from mta.model.message_settings import MessagesSettings
from mta.model.pools import PoolSettings as PoolSettings
from mta.model.reactions import ReactionSettings
from mta.model.replies import ReplyEntry
from mta.model.setting_units import Address as Address
from mta.model.setting_units import Bytes, PerSecond, Seconds
from mta.model.setting_units import Unit as Unit

Role = Literal["smtp", "delivery", "api", "journal"]


class NodeSettings(Struct, frozen=True, kw_only=True):
    """This node and its processes."""

    name: Annotated[
        str, Meta(description='Name of this node, one of its own among living nodes; "" = the host name.')
    ] = ""
    data_dir: Annotated[
        str,
        Meta(
            description='Where this node keeps its files; "" = $STATE_DIRECTORY, else /var/lib/floodgate (root) '
            "or ~/.local/state/floodgate."
        ),
    ] = ""
    workers: Annotated[int, Meta(ge=0, le=256, description="Worker processes; 0 = one per core.")] = 0
    roles: Annotated[
        tuple[Role, ...], Meta(min_length=1, description="The work of this node; docs/operations.md lists the roles.")
    ] = (
        "smtp",
        "delivery",
        "api",
        "journal",
    )
    drain_timeout: Annotated[
        Seconds, Meta(ge=0, le=3600, description="How long a stopping node lets deliveries in flight finish.")
    ] = 30.0


class RedisSettings(Struct, frozen=True, kw_only=True):
    """The store: Redis >= 7.0 or Valkey >= 8."""

    url: Annotated[
        str,
        Meta(
            description='"embedded" (a server of our own in data_dir), redis://, rediss://, redis+cluster://, '
            "redis+sentinel:// or unix://."
        ),
    ] = "embedded"
    allow_unsafe: Annotated[
        bool,
        Meta(description="Accept mail although the server's settings can lose it (appendfsync, maxmemory-policy)."),
    ] = False
    timeout: Annotated[
        Seconds, Meta(ge=0.1, le=60, description="How long an answer may take before mail is refused with 4xx.")
    ] = 5.0
    username: Annotated[str, Meta(description='ACL user; "" = the default user.')] = ""
    password_file: Annotated[str, Meta(description='File whose first line is the password; "" = none.')] = ""
    ca_file: Annotated[
        str,
        Meta(description="PEM file that the server's certificate is checked with (rediss://); \"\" = the system's."),
    ] = ""
    lanes: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Shares of the key space, the same number on every node; written when the store is created. "
            "A Cluster of more masters than lanes leaves some idle.",
        ),
    ] = 4


class ContentSettings(Struct, frozen=True, kw_only=True):
    """Where the content of queued messages is kept."""

    store: Annotated[Literal["redis"], Meta(description="The store of message contents.")] = "redis"
    compress_above: Annotated[Bytes, Meta(ge=0, description="Contents larger than this are compressed (zstd).")] = 65536


class SmtpSettings(Struct, frozen=True, kw_only=True):
    """The way in."""

    listen: Annotated[tuple[Address, ...], Meta(description="Addresses to listen on; port 0 = any free one.")] = (
        Address("127.0.0.1", 2525),
    )
    hostname: Annotated[str, Meta(description='Our name in the greeting, EHLO and Received; "" = the host name.')] = ""
    max_message_size: Annotated[Bytes, Meta(ge=1024, le=2**30, description="Largest message; told as SIZE.")] = 52428800
    max_recipients: Annotated[int, Meta(ge=1, le=10000, description="Most recipients of one message.")] = 1000
    max_connections: Annotated[int, Meta(ge=1, description="Most client connections of one worker process.")] = 1000
    max_connections_per_client: Annotated[
        int, Meta(ge=1, description="Most connections from one client address to one worker process.")
    ] = 100
    max_errors: Annotated[int, Meta(ge=1, description="Refused commands after which a session is closed (421).")] = 20
    command_timeout: Annotated[Seconds, Meta(ge=1, description="Longest wait for a command.")] = 300.0
    data_timeout: Annotated[Seconds, Meta(ge=1, description="Longest wait for more of a message's data.")] = 600.0
    session_timeout: Annotated[Seconds, Meta(ge=1, description="Longest session.")] = 3600.0
    trusted_networks: Annotated[
        tuple[str, ...], Meta(description="Networks that may inject mail and use injection headers.")
    ] = ("127.0.0.0/8", "::1/128")
    header_prefixes: Annotated[
        tuple[str, ...],
        Meta(description="Prefixes of injection headers, all alike; they are stripped before delivery."),
    ] = ("x-mq-", "x-floodgate-")
    ignore_headers: Annotated[
        tuple[str, ...],
        Meta(description="Injection headers that are dropped instead of refused or kept as properties."),
    ] = ()
    bare_newline: Annotated[
        Literal["normalize", "refuse"],
        Meta(
            description="A bare CR or LF in a message from smtp.trusted_networks: "
            '"normalize" = it becomes CRLF, "refuse" = 550 and 421; from others it is always refused. It never ends a '
            "message."
        ),
    ] = "normalize"
    default_pool: Annotated[str, Meta(description="Pool of messages that name none.")] = "default"
    commit_delay: Annotated[
        Seconds, Meta(ge=0, le=1, description="How long a message waits for others to be stored in the same step.")
    ] = 0.002


class DeliverySettings(Struct, frozen=True, kw_only=True):
    """The way out."""

    route: Annotated[
        str,
        Meta(description='Route of all mail: "host:port" or "relay:NAME" (queues and limits are kept); "" = by MX.'),
    ] = ""
    routes: Annotated[
        dict[str, Annotated[tuple[str, ...], Meta(min_length=1)]],
        Meta(
            description='Routes by domain or "*.parent", in the order to try them: '
            '{ "example.com" = ["relay:NAME", "mx"] }; "mx" = the domain\'s own hosts.'
        ),
    ] = {}
    alternate_after: Annotated[
        Seconds,
        Meta(
            ge=0,
            description="Age from which mail that a route answers with 4xx is given to the next one; where no host of "
            "a route can be reached, the next one gets it at once.",
        ),
    ] = 300.0
    tls: Annotated[
        Literal["opportunistic", "required", "verified", "none"],
        Meta(
            description='TLS: "opportunistic", "required", "verified" (the certificate must name the host) or "none".'
        ),
    ] = "opportunistic"
    mta_sts: Annotated[
        bool, Meta(description='Honour the MTA-STS policies of domains (RFC 8461) where tls is not "none".')
    ] = True
    mta_sts_port: Annotated[int, Meta(ge=1, le=65535, description="Port of the hosts that give MTA-STS policies.")] = (
        443
    )
    ca_file: Annotated[
        str,
        Meta(description='PEM file that certificates of destinations are checked with; "" = the system\'s.'),
    ] = ""
    retries: Annotated[
        tuple[Annotated[Seconds, Meta(ge=1)], ...],
        Meta(min_length=1, description="Waits between attempts, jitter 10 %; the last repeats."),
    ] = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
    max_age: Annotated[
        Seconds, Meta(ge=1, description="Age at which mail expires, from acceptance or its scheduled time.")
    ] = 259200.0
    max_attempts: Annotated[int, Meta(ge=0, description="Attempts after which mail expires; 0 = no limit.")] = 0
    same_ip_retries: Annotated[
        int,
        Meta(
            ge=0, le=100, description="Retries of a greylisted delivery that come from the same sending IP; 0 = none."
        ),
    ] = 3
    greeting_5xx: Annotated[
        Literal["defer", "bounce"],
        Meta(description='Mail whose hosts all greet with 5xx: "defer" it, or "bounce" all that waits for them.'),
    ] = "defer"
    connections: Annotated[int, Meta(ge=1, description="Most outgoing connections of one worker process.")] = 200
    slow_start: Annotated[
        bool,
        Meta(
            description="After a reply that too much mail comes, halve the connections from the IP to the site, and "
            "open them again, one by one, while mail is delivered."
        ),
    ] = True
    connect_timeout: Annotated[Seconds, Meta(ge=0.1, description="Longest wait for a TCP connection.")] = 30.0
    greeting_timeout: Annotated[Seconds, Meta(ge=0.1, description="Longest wait for the greeting.")] = 300.0
    command_timeout: Annotated[Seconds, Meta(ge=0.1, description="Longest wait for a reply before DATA.")] = 300.0
    data_timeout: Annotated[
        Seconds, Meta(ge=0.1, description="Longest wait for the peer to take a block of content.")
    ] = 180.0
    dot_timeout: Annotated[Seconds, Meta(ge=0.1, description="Longest wait for the reply to the final dot.")] = 600.0
    idle_timeout: Annotated[Seconds, Meta(ge=0, description="How long an idle connection is kept for reuse.")] = 5.0
    dot_hold: Annotated[
        Seconds, Meta(ge=0, description="How long a final dot waits for a fresh rule table before it is aborted.")
    ] = 30.0
    lease: Annotated[
        Seconds,
        Meta(
            ge=5,
            le=3600,
            description="Silence after which a process is dead: others take its claims, its node replaces it.",
        ),
    ] = 60.0
    dns_servers: Annotated[
        tuple[str, ...],
        Meta(description='DNS servers of mail and of webhooks, "ip" or "ip:port"; [] = the system\'s.'),
    ] = ()
    mx_port: Annotated[int, Meta(ge=1, le=65535, description="Port of the hosts that MX records name.")] = 25


class DkimSettings(Struct, frozen=True, kw_only=True):
    """Signatures of outgoing mail; its keys are added over the API and kept in the store."""

    sign: Annotated[
        Literal["when-key", "required", "off"],
        Meta(
            description='"when-key": mail is signed if a domain that may sign it has an active key; "required": other '
            'mail is answered 451; "off": no mail is signed.'
        ),
    ] = "when-key"
    default_domain: Annotated[
        str, Meta(description='Domain that signs mail whose own domain and tenant have no active key; "" = none.')
    ] = ""
    oversign: Annotated[
        tuple[str, ...],
        Meta(description="Header fields that are signed once more than they are there, so that none can be added."),
    ] = (
        "from", "to", "cc", "subject", "date", "reply-to", "message-id", "mime-version", "content-type",
        "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post",
    )  # fmt: skip


class RulesSettings(Struct, frozen=True, kw_only=True):
    """Forced errors."""

    max_staleness: Annotated[
        Seconds, Meta(ge=1, le=60, description="S: a process whose rule table is older than this delivers nothing.")
    ] = 5.0
    sweep_rate: Annotated[PerSecond, Meta(ge=1, description="Most queued deliveries that a sweep looks at.")] = 50000.0
    undo_window: Annotated[
        Seconds,
        Meta(ge=0, le=86400, description="How long intercepted mail is kept for an undo; 0 = not."),
    ] = 600.0
    max_rules: Annotated[int, Meta(ge=1, le=1000000, description="Most rules in the table.")] = 100000
    protected_tags: Annotated[
        tuple[str, ...],
        Meta(
            description="Mail with one of these is matched only by rules whose tag is one of them, and by the "
            "suspension of its tenant; alike on all nodes."
        ),
    ] = ()


class ApiSettings(Struct, frozen=True, kw_only=True):
    """The REST API."""

    listen: Annotated[Address, Meta(description="Address to listen on; port 0 = any free one.")] = Address(
        "127.0.0.1", 8080
    )
    wait: Annotated[
        Seconds,
        Meta(ge=0, le=60, description="How long a change of the rules waits to be effective before it answers 202."),
    ] = 2.0
    token_rate: Annotated[
        PerSecond,
        Meta(ge=1, description="Requests of one token on one node, reads and orders apart; beyond it 429."),
    ] = 100.0
    inject_listen: Annotated[
        tuple[Address, ...],
        Meta(
            description="Addresses of a second listener that takes mail only, for those who send much: mail that comes "
            "through api.listen passes through one process more."
        ),
    ] = ()
    inject_rate: Annotated[
        PerSecond,
        Meta(ge=1, description="Calls that hand mail in, of one token at one of these addresses; beyond it 429."),
    ] = 1000.0
    allow_plaintext: Annotated[
        bool, Meta(description="Listen off loopback although tokens then cross the network in the clear.")
    ] = False
    metrics_open: Annotated[
        bool, Meta(description="Give /metrics without a token where the API listens on loopback; off it, never.")
    ] = True


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of a node."""

    node: NodeSettings
    redis: RedisSettings = RedisSettings()
    content: ContentSettings = ContentSettings()
    smtp: SmtpSettings = SmtpSettings()
    delivery: DeliverySettings = DeliverySettings()
    relays: dict[str, RelaySettings] = {}
    pools: dict[str, PoolSettings] = {}
    sites: dict[str, SiteSettings] = {}
    domains: dict[str, DomainSettings] = {}
    dkim: DkimSettings = DkimSettings()
    replies: dict[str, ReplyEntry] = {}
    reactions: tuple[ReactionSettings, ...] = ()
    rules: RulesSettings = RulesSettings()
    messages: MessagesSettings = MessagesSettings()
    api: ApiSettings = ApiSettings()
    journal: JournalSettings = JournalSettings()
    history: HistorySettings = HistorySettings()
    suppressions: SuppressionSettings = SuppressionSettings()
    tracking: TrackingSettings = TrackingSettings()
    alerts: AlertsSettings = AlertsSettings()
    status: StatusSettings = StatusSettings()
    webhooks: WebhookSettings = WebhookSettings()

    @property
    def tracks(self) -> bool:
        """Whether this node hears of opens and clicks."""
        return bool(self.tracking.url) and "api" in self.node.roles
