"""The commands about templates."""

import json
from pathlib import Path

from tests.support.commands import Floodgate


def test_a_template_is_put_rendered_published_and_removed(floodgate: Floodgate, tmp_path: Path) -> None:
    page = tmp_path / "order.html"
    page.write_text("<p>{{ name }}: {{ rows|length }}</p>")
    done = floodgate("templates", "put", "order", "--subject", "Order {{ order }}", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert done.stdout == "order version 1; mail uses none: floodgate templates publish\n"
    data = tmp_path / "data.json"
    data.write_text('{"order": 17, "name": "x", "rows": [1, 2]}')
    shown = floodgate("templates", "render", "order", "--data", str(data), "--set", "name=<Ada>")
    assert shown.stdout == "--- subject\nOrder 17\n--- html\n<p>&lt;Ada&gt;: 2</p>\n"
    assert floodgate("templates", "publish", "order").stdout == "order version 1; mail uses it\n"
    page.write_text("<p>new</p>")
    newer = floodgate("templates", "put", "order", "--html", str(page), "--publish", "--json")
    assert (json.loads(newer.stdout)["published"], json.loads(newer.stdout)["latest"]) == (2, 2)
    (listed,) = json.loads(floodgate("templates", "list", "--json").stdout)
    assert (listed["name"], listed["published"]) == ("order", 2)
    assert "order" in floodgate("templates", "list").stdout
    old = floodgate("templates", "show", "order", "--version", "1")
    assert "Order {{ order }}" in old.stdout
    assert "version 2, published" in old.stderr
    assert floodgate("templates", "remove", "order").exit_code == 1, "it asks, and nobody answers"
    assert floodgate("templates", "remove", "order", "--yes").stdout == "removed order\n"
    assert "there is no template order" in floodgate("templates", "show", "order").stderr


def test_a_name_without_a_value_is_named(floodgate: Floodgate) -> None:
    floodgate("templates", "put", "order", "--subject", "Order {{ order }}")
    refused = floodgate("templates", "render", "order")
    assert refused.exit_code == 1
    assert "order has no value" in refused.stderr


def test_options_that_make_no_sense_are_refused(floodgate: Floodgate, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1]")
    for words in (
        ("put", "order"),
        ("render", "order", "--set", "name"),
        ("render", "order", "--data", str(wrong)),
        ("publish", "order", "--version", "0"),
    ):
        assert floodgate("templates", *words).exit_code == 2, words
