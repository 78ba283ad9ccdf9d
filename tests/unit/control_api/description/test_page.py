"""docs/api.md is the page that the operations make."""

from control_api.description.page import page
from tests.support.sources import ROOT


def test_the_page_is_up_to_date() -> None:
    again = "run: python -m control_api.description.page docs/api.md"
    assert (ROOT / "docs" / "api.md").read_text("utf-8") == page(), again
