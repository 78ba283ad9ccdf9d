from mta.model.settings import DeliverySettings
from mta.settings_file.fields import fields_of
from mta.settings_file.page import settings_page
from tests.support.sources import ROOT


def test_the_page_of_settings_is_what_the_structs_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == settings_page(), "run `make docs`"


def test_each_setting_has_a_row_with_its_default() -> None:
    page = settings_page()
    for name in fields_of(DeliverySettings):
        assert f"\n| `{name}` | " in page
    assert '| `dot_hold` | duration | `"30s"` |' in page
