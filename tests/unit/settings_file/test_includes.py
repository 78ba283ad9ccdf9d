from pathlib import Path

import pytest

from mta.model.errors import SettingsError
from mta.settings_file import load_settings


def loaded(folder: Path, own: str, **files: str):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "f.toml").write_text(own)
    return load_settings(folder / "f.toml", [], {})


def test_the_limits_of_the_large_providers_are_shipped_and_own_keys_win(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'include = "shaping.toml"\n[sites.google]\nconnections = 40\nper_ip.connections = 9\n')
    google = settings.sites["google"]
    assert (google.connections, google.per_ip.connections, google.per_ip.messages_per_connection) == (40, 9, 50)
    assert "*.google.com" in google.mx
    assert {"yahoo", "outlook", "microsoft365", "apple"} <= set(settings.sites)


def test_without_include_no_site_has_limits(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").sites == {}


def test_a_file_beside_the_settings_wins_over_the_shipped_one_and_a_later_one_over_an_earlier(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        'include = ["shaping.toml", "more.toml"]',
        shaping="[sites.a]\nconnections = 1\n[sites.b]\nconnections = 2\n",
        more="[sites.b]\nconnections = 3\n",
    )
    assert {name: site.connections for name, site in settings.sites.items()} == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("include = 3", 'f.toml: include: must be a list of files; write include = ["shaping.toml"]'),
        ('include = "gone.toml"', "gone.toml; name a file beside the settings file"),
        ('include = "more.toml"', "more.toml: sites.b.connection: unknown key; did you mean connections?"),
        ('include = "nest.toml"', "nest.toml: include: an included file includes no other"),
    ],
)
def test_a_wrong_include_is_told_with_the_file_that_is_wrong(tmp_path: Path, own: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, own, more="[sites.b]\nconnection = 3\n", nest='include = "more.toml"')
    assert words in str(refused.value)


def test_own_reactions_stand_before_included_ones_and_replace_those_of_their_name(tmp_path: Path) -> None:
    shipped = loaded(tmp_path, 'include = "shaping.toml"').reactions
    names = [one.name for one in shipped]
    assert {"google-unusual-rate", "yahoo-ts04", "outlook-busy"} <= set(names)
    assert len(names) == len(set(names))
    own = (
        '[[reactions]]\nname = "yahoo-ts04"\ntext = "x"\nenabled = false\n[[reactions]]\nsite = "yahoo"\ncode = "421"\n'
    )
    found = loaded(tmp_path, f'include = "shaping.toml"\n{own}').reactions
    assert [one.name for one in found] == ["yahoo-ts04", "yahoo-2", *(name for name in names if name != "yahoo-ts04")]
    assert not found[0].enabled
    single = loaded(tmp_path, 'include = "shaping.toml"\nreactions = { name = "own", text = "x" }\n').reactions
    assert [one.name for one in single] == ["own", *names]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ('text = "("', "reactions: any-1: text: is no RE2 expression"),
        ('text = "x"\naction = "slow"', "reactions: any-1: value:"),
        ('text = "x"\nthreshold = "3"', "is no threshold; write 1 to 1000 and /s, /m, /h or /d, such as"),
        ('name = "a"\ntext = "x"\n[[reactions]]\nname = "a"\ntext = "y"', "a: name: another reaction has it"),
        ('text = "x"\nwhen = 3', "reactions.when: unknown key"),
        ('text = "x"\nfor = "0s"', "reactions.for: must be at least 1s"),
    ],
)
def test_a_reaction_that_cannot_work_is_refused(tmp_path: Path, own: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, f"[[reactions]]\n{own}\n")
    assert words in str(refused.value)
