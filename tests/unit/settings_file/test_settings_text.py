import re
import tomllib
from pathlib import Path

import pytest

from mta.model.settings import Settings
from mta.settings_file import load_settings
from mta.settings_file.fields import fields_of, item_of
from mta.settings_file.text import defaults_text, settings_text
from tests.support.sources import ROOT

FILE = ROOT / "config" / "floodgate.toml"


def test_the_shipped_file_is_what_the_structs_say() -> None:
    assert FILE.read_text("utf-8") == defaults_text()


def test_the_shipped_file_gives_the_defaults() -> None:
    assert load_settings(FILE, [], {}) == load_settings(None, [], {})


def test_the_shipped_file_with_every_key_in_force_loads(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(re.sub(r"^#(?! )", "", defaults_text(), flags=re.MULTILINE), "utf-8")
    settings = load_settings(path, [], {})
    assert list(settings.pools) == ["default"]
    assert list(settings.domains) == ["example.com"]


def test_every_key_has_prose_and_appears_once() -> None:
    values = tomllib.loads(re.sub(r"^#(?! )", "", defaults_text(), flags=re.MULTILINE))
    for section, field in fields_of(Settings).items():
        by_name = section in ("relays", "pools", "sites", "domains", "replies")
        is_list = section == "reactions"
        keys = fields_of(item_of(field.type) if by_name or is_list else field.type)
        table = next(iter(values[section].values())) if by_name else values[section]
        table = table[0] if is_list else table
        assert list(table) == list(keys)
        for key in keys.values():
            assert key.prose.endswith("."), f"{section}.{key.name}"


def test_what_is_shown_loads_to_the_same_settings(tmp_path: Path) -> None:
    words = [
        'domains."gmail.com".messages_per_minute=2.5',
        'pools.a={ips = ["192.0.2.1"], weights = {"192.0.2.1" = 3}}',
        'delivery.routes={"*.x.example" = "h:25", "y.example" = ["relay:out", "mx"]}',
        "relays.out.host=relay.example",
        'smtp.listen=["[::1]:0", "127.0.0.1:25"]',
        "delivery.dns_servers=127.0.0.1:5353",
        "redis.timeout=1500ms",
        "rules.sweep_rate=90/m",
        'reactions=[{site="x", code="421", threshold="2/h", action="slow", value="10/m", "for"="90s"}, {text="no"}]',
    ]
    settings = load_settings(None, words, {})
    path = tmp_path / "shown.toml"
    path.write_text(settings_text(settings), "utf-8")
    assert load_settings(path, [], {}) == settings
    assert 'timeout = "1500ms"' in settings_text(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1/0", "redis://u:***@h:1/0"),
        ("rediss://:secret@h", "rediss://:***@h"),
        ("redis://h", "redis://h"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert f'url = "{shown}"' in settings_text(load_settings(None, [f"redis.url={url}"], {}))


def test_the_password_of_the_history_is_not_shown() -> None:
    shown = settings_text(load_settings(None, ["history.url=postgresql://u:secret@h/d"], {}))
    assert 'url = "postgresql://u:***@h/d"' in shown
    assert "secret@" not in shown
