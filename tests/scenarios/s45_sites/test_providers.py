"""A small run of the providers' script (C-102, C-103): `python -m tests.measure.providers` is the whole one."""

import pathlib
import tempfile

from tests.measure.providers import Given, at_half, run


def test_mail_to_sites_that_answer_as_providers_do_ends_as_their_script_says() -> None:
    given = Given(messages=800, domains=200, workers=2, rate=0.0, age=4)
    found = run(at_half(given, 500.0), pathlib.Path(tempfile.gettempdir()), within=120.0)
    assert found["wrong"] == []
    assert found["statement"] == {"accepted": 800, "delivered": 720, "bounced": 16, "expired": 64, "uncertain": 0}
