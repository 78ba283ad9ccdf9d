"""Settings: every key with its type, default and one line of prose (CONTRACT section 3).

In these structs durations are seconds, sizes bytes, rates per second, whatever unit they were written in.
"""

from typing import NamedTuple

import msgspec


class Address(NamedTuple):
    """A listening or target address; port 0 = any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    data_dir: str
    workers: int = 0
    roles: tuple[str, ...] = ("smtp", "delivery", "api", "journal")
    drain_timeout: float = 30.0


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: str = "embedded"
    allow_unsafe: bool = False
    timeout: float = 5.0
    username: str = ""
    password_file: str = ""


class ContentSettings(msgspec.Struct, frozen=True, kw_only=True):
    store: str = "redis"
    compress_above: int = 64 * 1024


class SmtpSettings(msgspec.Struct, frozen=True, kw_only=True):
    listen: tuple[Address, ...] = (Address("127.0.0.1", 2525),)
    hostname: str = ""
    max_message_size: int = 50 * 1024 * 1024
    max_recipients: int = 1000
    max_connections: int = 1000
    max_connections_per_client: int = 100
    max_errors: int = 20
    command_timeout: float = 300.0
    data_timeout: float = 600.0
    session_timeout: float = 3600.0
    trusted_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    header_prefixes: tuple[str, ...] = ("x-mq-", "x-floodgate-")
    ignore_headers: tuple[str, ...] = ()
    default_pool: str = "default"
    commit_delay: float = 0.002


class DeliverySettings(msgspec.Struct, frozen=True, kw_only=True):
    route: str = ""
    routes: dict[str, str] = {}
    tls: str = "opportunistic"
    retries: tuple[float, ...] = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
    max_age: float = 3 * 86400.0
    max_attempts: int = 0
    connections: int = 200
    connect_timeout: float = 30.0
    greeting_timeout: float = 300.0
    command_timeout: float = 300.0
    data_timeout: float = 180.0
    dot_timeout: float = 600.0
    idle_timeout: float = 5.0
    dot_hold: float = 30.0
    lease: float = 60.0
    dns_servers: tuple[str, ...] = ()


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    ips: tuple[str, ...] = ()
    ehlo: str = ""
    weights: dict[str, int] = {}


class DomainSettings(msgspec.Struct, frozen=True, kw_only=True):
    connections: int = 0
    messages_per_connection: int = 0
    messages_per_minute: float = 0.0
    connections_per_minute: float = 0.0


class RulesSettings(msgspec.Struct, frozen=True, kw_only=True):
    max_staleness: float = 5.0
    sweep_rate: float = 50000.0
    max_rules: int = 100000


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    listen: Address = Address("127.0.0.1", 8080)
    wait: float = 2.0
    allow_plaintext: bool = False


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    log_path: str = ""
    backlog_soft: int = 20000
    backlog_hard: int = 100000
    when_behind: str = "refuse"


class StatusSettings(msgspec.Struct, frozen=True, kw_only=True):
    retention: float = 86400.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    node: NodeSettings
    redis: RedisSettings = RedisSettings()
    content: ContentSettings = ContentSettings()
    smtp: SmtpSettings = SmtpSettings()
    delivery: DeliverySettings = DeliverySettings()
    pools: dict[str, PoolSettings] = {}
    domains: dict[str, DomainSettings] = {}
    rules: RulesSettings = RulesSettings()
    api: ApiSettings = ApiSettings()
    journal: JournalSettings = JournalSettings()
    status: StatusSettings = StatusSettings()
