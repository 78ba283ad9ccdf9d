import ast

import pytest

from mta.model.settings import Settings
from mta.settings_file.fields import fields_of, item_of
from tests.support.sources import sources

SETTLED_AT_LOAD = {"api.allow_plaintext", "content.store"}  # permissions and names that only the loader weighs
SECTIONS = fields_of(Settings)
BY_NAME = ("relays", "pools", "sites", "domains", "replies", "reactions")
KEYS = [
    f"{section}.{key}"
    for section, field in SECTIONS.items()
    for key in fields_of(item_of(field.type) if section in BY_NAME else field.type)
    if f"{section}.{key}" not in SETTLED_AT_LOAD
]


@pytest.fixture(scope="module")
def attributes() -> set[str]:
    """Those that the product reads, by name."""
    return {
        node.attr
        for source in sources("mta", "control_api")
        if source.name != "mta.model.settings" and not source.name.startswith("mta.settings_file")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_is_read_by_the_product(key: str, attributes: set[str]) -> None:
    name = key.rpartition(".")[2]
    assert name in attributes or f"{name}_" in attributes  # a word of Python has _ behind it
