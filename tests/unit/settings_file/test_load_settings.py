from pathlib import Path

import pytest

from mta.model.errors import SettingsError
from mta.model.settings import Address, DeliverySettings, PoolSettings, Settings
from mta.settings_file import load_settings


def loaded(tmp_path: Path, text: str, *sets: str) -> Settings:
    path = tmp_path / "f.toml"
    path.write_text(text, "utf-8")
    return load_settings(path, sets, {"HOME": "/home/fg"})


def refusal(tmp_path: Path, text: str, *sets: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text, *sets)
    return str(caught.value).replace(f"{tmp_path}/", "")


NAME_RULE = "is not a name; write letters, digits, _ and -, at most 63, the first a letter or digit"
SENTINELS = "redis+sentinel://host:26379,host:26379/NAME"

WRONG = {
    "unknown key": (
        "[smtp]\nmax_conections = 5",
        "f.toml: smtp.max_conections: unknown key; did you mean max_connections?",
    ),
    "unknown section": ("[smpt]\n", "f.toml: smpt: unknown key; did you mean smtp?"),
    "unknown, nothing near": (
        "[status]\nzzz = 1",
        "f.toml: status.zzz: unknown key; known here: retention",
    ),
    "unknown in a pool": ("[pools.a]\nip = '1.2.3.4'", "f.toml: pools.a.ip: unknown key; did you mean ips?"),
    "not a table": ("smtp = 5", "f.toml: smtp: must be a table; write [smtp] and its keys below"),
    "domain not a table": (
        "[domains]\n'gmail.com' = 5",
        'f.toml: domains."gmail.com": must be a table; write [domains."gmail.com"] and its keys below',
    ),
    "string for number": ("[smtp]\nmax_errors = '5'", "f.toml: smtp.max_errors: must be a whole number, not '5'"),
    "number for string": ("[node]\nname = 5", 'f.toml: node.name: must be a string, not 5; write "5"'),
    "number for bool": ("[redis]\nallow_unsafe = 1", "f.toml: redis.allow_unsafe: must be true or false, not 1"),
    "bool for number": ("[smtp]\nmax_errors = true", "f.toml: smtp.max_errors: must be a whole number, not true"),
    "list for string": ("[smtp]\nhostname = ['a']", "f.toml: smtp.hostname: must be a string, not a list"),
    "list for duration": ("[redis]\ntimeout = [1]", "f.toml: redis.timeout: must be a duration, not a list"),
    "bad duration": (
        "[redis]\ntimeout = '5 parsecs'",
        "f.toml: redis.timeout: '5 parsecs' is not a duration; write a number and ms, s, m, h or d, such as \"30s\"",
    ),
    "bad size": (
        "[smtp]\nmax_message_size = 'big'",
        "f.toml: smtp.max_message_size: 'big' is not a size; "
        'write a number and KiB, MiB, GiB, KB, MB or GB, such as "25MiB"',
    ),
    "bad rate": (
        "[rules]\nsweep_rate = '5'",
        "f.toml: rules.sweep_rate: '5' is not a rate; write a number and /s, /m, /h or /d, such as \"100/s\"",
    ),
    "bad address": (
        "[smtp]\nlisten = '25'",
        'f.toml: smtp.listen: \'25\' is not an address; write "host:port" or "[ipv6]:port", such as "127.0.0.1:2525"',
    ),
    "too small": ("[rules]\nmax_staleness = '500ms'", "f.toml: rules.max_staleness: must be at least 1s"),
    "too large": ("[rules]\nmax_staleness = '2m'", "f.toml: rules.max_staleness: must be at most 1m"),
    "lease shorter than two permits": (
        "[rules]\nmax_staleness = '10s'\n[delivery]\nlease = '15s'",
        "f.toml: delivery.lease: must be at least 20s, twice rules.max_staleness (10s); raise it or lower "
        "rules.max_staleness",
    ),
    "size too small": ("[smtp]\nmax_message_size = 5", "f.toml: smtp.max_message_size: must be at least 1KiB"),
    "negative": ("[node]\nworkers = -1", "f.toml: node.workers: must be at least 0"),
    "nan": ("[domains.a]\nmessages_per_minute = nan", "f.toml: domains.a.messages_per_minute: must be at least 0"),
    "empty retries": ("[delivery]\nretries = []", "f.toml: delivery.retries: must not be empty"),
    "zero retry": ("[delivery]\nretries = [0]", "f.toml: delivery.retries: must be at least 1s"),
    "unknown role": (
        "[node]\nroles = ['smtp', 'cook']",
        "f.toml: node.roles: 'cook' is not one of smtp, delivery, api, journal",
    ),
    "role twice": ("[node]\nroles = ['smtp', 'smtp']", "f.toml: node.roles: smtp is given twice; remove one"),
    "choice": (
        "[delivery]\ntls = 'yes'",
        "f.toml: delivery.tls: 'yes' is not one of opportunistic, required, verified, none",
    ),
    "store": ("[content]\nstore = 's3'", "f.toml: content.store: 's3' is not one of redis"),
    "node name": ("[node]\nname = 'a.b'", f"f.toml: node.name: 'a.b' {NAME_RULE}"),
    "pool name": ("[pools.'a b']\n", f"f.toml: pools.\"a b\": 'a b' {NAME_RULE}"),
    "default pool": ("[smtp]\ndefault_pool = ''", f"f.toml: smtp.default_pool: '' {NAME_RULE}"),
    "control character": (
        '[smtp]\nhostname = "a\\u0007"',
        "f.toml: smtp.hostname: must not contain control characters",
    ),
    "host name": ("[smtp]\nhostname = 'a_b!'", "f.toml: smtp.hostname: 'a_b!' is not a host name"),
    "pool IP": ("[pools.a]\nips = '1.2.3'", "f.toml: pools.a.ips: '1.2.3' is not an IP address"),
    "IP in two pools": (
        "[pools.a]\nips = '::1'\n[pools.b]\nips = ['0::1']",
        "f.toml: pools.b.ips: 0::1 is in pool a already; an IP belongs to one pool, once",
    ),
    "IP twice": (
        "[pools.a]\nips = ['::1', '::1']",
        "f.toml: pools.a.ips: ::1 is in it twice; an IP belongs to one pool, once",
    ),
    "weight of a stranger": (
        "[pools.a]\nips = '1.2.3.4'\nweights = { '1.2.3.5' = 2 }",
        "f.toml: pools.a.weights.\"1.2.3.5\": '1.2.3.5' is not one of its ips; add it there",
    ),
    "weight zero": (
        "[pools.a]\nips = '1.2.3.4'\nweights = { '1.2.3.4' = 0 }",
        'f.toml: pools.a.weights."1.2.3.4": must be at least 1',
    ),
    "network with host bits": (
        "[smtp]\ntrusted_networks = '10.0.0.1/8'",
        "f.toml: smtp.trusted_networks: '10.0.0.1/8' has host bits set; write \"10.0.0.0/8\"",
    ),
    "no network": (
        "[smtp]\ntrusted_networks = 'lan'",
        "f.toml: smtp.trusted_networks: 'lan' is not a network; write one such as \"192.0.2.0/24\"",
    ),
    "header prefix": (
        "[smtp]\nheader_prefixes = 'x'",
        "f.toml: smtp.header_prefixes: 'x' is not a header prefix; write one such as \"x-mq-\"",
    ),
    "header name": ("[smtp]\nignore_headers = 'a: b'", "f.toml: smtp.ignore_headers: 'a: b' is not a header name"),
    "no listener": (
        "[smtp]\nlisten = []",
        "f.toml: smtp.listen: must not be empty; a node that takes no mail leaves smtp out of node.roles",
    ),
    "protected tag twice": (
        "[rules]\nprotected_tags = ['a', 'a']",
        "f.toml: rules.protected_tags: a is given twice; remove one",
    ),
    "no tag": (
        "[rules]\nprotected_tags = ['']",
        "f.toml: rules.protected_tags: '' is not a tag; write 1 to 128 bytes of UTF-8 without control characters",
    ),
    "listener twice": (
        "[smtp]\nlisten = ['127.0.0.1:25', '127.0.0.1:25']",
        "f.toml: smtp.listen: 127.0.0.1:25 is given twice; remove one",
    ),
    "API off loopback": (
        "[api]\nlisten = '0.0.0.0:8080'",
        "f.toml: api.listen: 0.0.0.0:8080 is not a loopback address and tokens would cross the network in the clear; "
        "listen on 127.0.0.1 behind a proxy with TLS, or set api.allow_plaintext = true",
    ),
    "redis scheme": (
        "[redis]\nurl = 'http://u:secret@h'",
        "f.toml: redis.url: 'http://u:***@h' is not \"embedded\", redis://, rediss://, redis+cluster://, "
        "redis+sentinel:// or unix://",
    ),
    "history scheme": (
        "[history]\nurl = 'mysql://u:secret@h/d'",
        'f.toml: history.url: \'mysql://u:***@h/d\' is not "sqlite", postgresql:// or ""',
    ),
    "history without a database": (
        "[history]\nurl = 'postgresql://u:secret@h'",
        "f.toml: history.url: names no database; write postgresql://user@host/database",
    ),
    "sentinels without a master": (
        "[redis]\nurl = 'redis+sentinel://h:26379'",
        "f.toml: redis.url: names no master; write the name that the sentinels know it by: " + SENTINELS,
    ),
    "no sentinels": (
        "[redis]\nurl = 'redis+sentinel:///main'",
        f"f.toml: redis.url: names no sentinel; write {SENTINELS}",
    ),
    "a sentinel without a port": (
        "[redis]\nurl = 'redis+sentinel://h:1,h:x/main'",
        f"f.toml: redis.url: a sentinel is no host:port; write {SENTINELS}",
    ),
    "an option of sentinels that is not known": (
        "[redis]\nurl = 'redis+sentinel://h:1/main?sentinel_pasword=secret'",
        "f.toml: redis.url: has an option that is not known; known are db, sentinel_username, sentinel_password",
    ),
    "a raw password before sentinels": (
        "[redis]\nurl = 'redis+sentinel://:se/cret@h:1/main'",
        f"f.toml: redis.url: cannot be read; write {SENTINELS}, and characters of a password as %XX",
    ),
    "two passwords for the servers behind sentinels": (
        "[redis]\nurl = 'redis+sentinel://:secret@h:1/main'\npassword_file = '/p'",
        "f.toml: redis.password_file: redis.url holds a password, too; remove it there",
    ),
    "redis.ca_file without TLS behind sentinels": (
        "[redis]\nurl = 'redis+sentinel://h:1/main'\nca_file = '/ca.pem'",
        "f.toml: redis.ca_file: is for rediss:// and rediss+sentinel:// only; change redis.url or remove it",
    ),
    "redis without host": ("[redis]\nurl = 'redis://'", "f.toml: redis.url: names no host; write redis://host:6379"),
    "redis without socket": (
        "[redis]\nurl = 'unix://'",
        "f.toml: redis.url: names no socket; write unix:///path/of/the.sock",
    ),
    "user of the embedded server": (
        "[redis]\nusername = 'a'",
        "f.toml: redis.username: does nothing with the embedded server; remove it or give redis.url",
    ),
    "CA without TLS": (
        "[redis]\nurl = 'redis://h'\nca_file = '/ca.pem'",
        "f.toml: redis.ca_file: is for rediss:// and rediss+sentinel:// only; change redis.url or remove it",
    ),
    "route without port": (
        "[delivery]\nroute = 'mx:0'",
        "f.toml: delivery.route: 'mx:0' has no port to connect to; write one such as :25",
    ),
    "route of a domain": (
        "[delivery.routes]\n'a.b' = ['mx', 'host']",
        "f.toml: delivery.routes.\"a.b\": 'host' is not an address; "
        'write "host:port" or "[ipv6]:port", such as "127.0.0.1:2525"',
    ),
    "route twice": (
        "[delivery.routes]\n'a.b' = ['mx', '']",
        'f.toml: delivery.routes."a.b": mx is given twice; remove one',
    ),
    "no route": ("[delivery.routes]\n'a.b' = []", 'f.toml: delivery.routes."a.b": must not be empty'),
    "route to no relay": (
        "[delivery]\nroute = 'relay:out'",
        "f.toml: delivery.route: 'relay:out' names no relay; add [relays.out]",
    ),
    "relay without a host": (
        "[relays.out]\nport = 25",
        "f.toml: relays.out.host: '' is not a host name or an address; write that of the relay",
    ),
    "relay that could read the password": (
        "[relays.out]\nhost = 'h'\ntls = 'opportunistic'\nusername = 'u'\npassword_file = '/p'",
        "f.toml: relays.out.tls: 'opportunistic' could send the password in clear text; "
        'set tls = "verified" or "required"',
    ),
    "relay without a password": (
        "[relays.out]\nhost = 'h'\nusername = 'u'",
        "f.toml: relays.out.password_file: AUTH needs a username and a password_file; give both or neither",
    ),
    "relay in the clear on the port of TLS": (
        "[relays.out]\nhost = 'h'\nport = 465\ntls = 'none'",
        'f.toml: relays.out.tls: port 465 speaks TLS from its first byte; set tls = "verified" or "required"',
    ),
    "route pattern": (
        "[delivery.routes]\n'*a.b' = 'mx:25'",
        'f.toml: delivery.routes."*a.b": \'*a.b\' is not a domain or "*.parent"',
    ),
    "DNS server": (
        "[delivery]\ndns_servers = 'ns.example.com:53'",
        'f.toml: delivery.dns_servers: \'ns.example.com:53\' is not an IP address; write "ip" or "ip:port"',
    ),
    "domain pattern": (
        "[domains.'a.*.b']\n",
        'f.toml: domains."a.*.b": \'a.*.b\' is not a domain or "*.parent"',
    ),
    "site name": (
        "[sites.'a.b']\n",
        "f.toml: sites.\"a.b\": 'a.b' is not a name; write letters, digits, _ and -, at most 63, the first a letter or "
        "digit",
    ),
    "site host": ("[sites.a]\nmx = 'mx*.b'\n", "f.toml: sites.a.mx: 'mx*.b' is not a name or \"*.parent\""),
    "site twice": (
        "[sites.a]\nmx = '*.b.test'\n[sites.c]\nmx = ['*.B.test', 'd.test']\n",
        "f.toml: sites.c.mx: *.b.test is in site a already; it belongs to one site, once",
    ),
    "domain twice": ("[domains.'a.b']\n[domains.'A.B']\n", 'f.toml: domains."A.B": a.b is given twice; remove one'),
    "undo": (
        '[rules]\nundo_window = "2h"\n[status]\nretention = "1h"',
        "f.toml: rules.undo_window: must not be longer than status.retention (1h)",
    ),
    "backlog": (
        "[journal]\nbacklog_soft = 100000",
        "f.toml: journal.backlog_soft: must be less than journal.backlog_hard (100000)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_naming_file_key_reason_and_fix(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    assert refusal(tmp_path, text) == message


def test_what_is_not_toml_is_refused_with_its_place(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[smtp\n").startswith("f.toml: is not TOML: Expected ']'")


def test_a_file_that_is_missing_or_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"none.toml: cannot be read: No such file or directory; give an existing file"
    ):
        load_settings(tmp_path / "none.toml", [], {})
    (tmp_path / "f.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"f.toml: is not UTF-8; save it as UTF-8"):
        load_settings(tmp_path / "f.toml", [], {})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("smtp.max_errors", "--set: 'smtp.max_errors' is not KEY=VALUE; write one such as smtp.max_recipients=100"),
        ("=5", "--set: '=5' is not KEY=VALUE; write one such as smtp.max_recipients=100"),
        ("smtp.max_errors=lots", "--set: smtp.max_errors: must be a whole number, not 'lots'"),
        ("redis.url.host=a", "--set: redis.url.host: redis.url is not a table"),
        ("smtp=5", "--set: smtp: must be a table; write [smtp] and its keys below"),
    ],
)
def test_a_wrong_set_is_refused_as_such(word: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, "[redis]\nurl = 'redis://h'", word) == message


def test_set_reads_toml_or_text_and_overrides_the_file(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        "[smtp]\nmax_errors = 5",
        "smtp.max_errors=7",
        "smtp.listen=127.0.0.1:0",
        'domains."gmail.com".connections = 3',
        'delivery.retries=["1s", 5]',
        "redis.allow_unsafe=true",
        "smtp.hostname=mx",
    )
    assert settings.smtp.max_errors == 7
    assert settings.smtp.listen == (Address("127.0.0.1", 0),)
    assert settings.domains["gmail.com"].connections == 3
    assert settings.delivery.retries == (1.0, 5.0)
    assert settings.redis.allow_unsafe is True
    assert settings.smtp.hostname == "mx"


def test_a_set_cannot_bring_a_second_key(tmp_path: Path) -> None:
    assert "control characters" in refusal(tmp_path, "", "smtp.hostname=1\nother = 2")


def test_a_list_accepts_a_single_value(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "[smtp]\nlisten = '127.0.0.1:26'\n[pools.a]\nips = '192.0.2.1'")
    assert settings.smtp.listen == (Address("127.0.0.1", 26),)
    assert settings.pools == {"a": PoolSettings(ips=("192.0.2.1",))}


def test_domains_are_brought_to_the_names_that_queues_have(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path, "[delivery.routes]\n'*.Bücher.EXAMPLE' = 'h:25'\n'Plain.' = ''\n[domains.'GMail.com']\n"
    )
    assert settings.delivery.routes == {"*.xn--bcher-kva.example": ("h:25",), "plain": ("",)}
    assert list(settings.domains) == ["gmail.com"]


def test_i8_protected_tags_are_brought_to_the_form_in_which_mail_has_them(tmp_path: Path) -> None:
    assert loaded(tmp_path, '[rules]\nprotected_tags = ["caf\\u0065\\u0301"]').rules.protected_tags == ("caf\u00e9",)


def test_i2_bare_newlines_are_normalized_or_refused(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").smtp.bare_newline == "normalize"
    assert loaded(tmp_path, "[smtp]\nbare_newline = 'refuse'").smtp.bare_newline == "refuse"
    assert refusal(tmp_path, "[smtp]\nbare_newline = 'accept'") == (
        "f.toml: smtp.bare_newline: 'accept' is not one of normalize, refuse"
    )


def test_what_only_the_host_can_tell_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "_mail 1.example.com")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    settings = loaded(tmp_path, "[smtp]\ndefault_pool = 'bulk'")
    assert settings.node.name == "mail-1"
    assert settings.smtp.hostname == "mail-1.example.com"
    assert settings.node.workers == 3
    assert settings.node.data_dir == "/home/fg/.local/state/floodgate"
    assert settings.journal.log_path == "/home/fg/.local/state/floodgate/log/delivery.jsonl"
    assert settings.pools == {"bulk": PoolSettings()}


@pytest.mark.parametrize(
    ("environ", "uid", "data_dir"),
    [
        ({"STATE_DIRECTORY": "/run/a:/run/b"}, 1000, "/run/a"),
        ({}, 0, "/var/lib/floodgate"),
        ({"HOME": "/h"}, 5, "/h/.local/state/floodgate"),
    ],
)
def test_default_data_dir(environ: dict[str, str], uid: int, data_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert load_settings(None, [], environ).node.data_dir == data_dir


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:1/0",
        "rediss://h",
        "redis+cluster://h:7000",
        "unix:///run/valkey.sock",
        "embedded",
        "redis+sentinel://u:p%40@h1:26379,h2,[::1]:7/main?db=1&sentinel_password=x",
    ],
)
def test_every_kind_of_store_is_accepted(url: str) -> None:
    assert load_settings(None, [f"redis.url={url}"], {}).redis.url == url


@pytest.mark.parametrize("listen", ["localhost:0", "127.0.0.5:80", "[::1]:80"])
def test_the_api_may_listen_on_loopback(listen: str) -> None:
    assert str(load_settings(None, [f"api.listen={listen}"], {}).api.listen) == listen


def test_the_api_may_listen_elsewhere_when_told_so() -> None:
    settings = load_settings(None, ["api.listen=0.0.0.0:80", "api.allow_plaintext=true"], {})
    assert settings.api.listen == Address("0.0.0.0", 80)


def test_c30_by_default_the_client_waits_as_long_as_rfc_5321_says() -> None:
    waits = DeliverySettings()
    assert min(waits.greeting_timeout, waits.command_timeout) >= 5 * 60
    assert waits.data_timeout >= 3 * 60
    assert waits.dot_timeout >= 10 * 60
    assert waits.connect_timeout < 60
