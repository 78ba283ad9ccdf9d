from hypothesis import given
from hypothesis import strategies as st

from mta.model.text import visible


def test_what_cannot_be_seen_is_escaped():
    assert visible(b"ok \xff\r\n\x1b[0m") == "ok \\xff\\u000d\\u000a\\u001b[0m"
    assert visible("a\u202eb\u2028c\ud800\U000e0001") == "a\\u202eb\\u2028c\\ud800\\U000e0001"
    assert visible("gr\u00fc\u00df dich") == "gr\u00fc\u00df dich"


@given(st.text() | st.binary())
def test_the_result_is_one_printable_line_and_stays_as_it_is(text):
    seen = visible(text)
    assert seen.isprintable()
    assert visible(seen) == seen
    seen.encode()
