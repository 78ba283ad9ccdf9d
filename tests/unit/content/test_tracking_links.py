"""Links of tracked mail: sealed, signed, and put into HTML."""

import pytest

from mta.content.tracked_html import with_links, with_pixel
from mta.content.tracking_links import TrackingLinks
from mta.model.engagement import TrackedMail
from mta.model.ids import DeliveryId

URL = "https://click.example.com/t"
LINKS = TrackingLinks(b"k" * 32, URL + "/")
FACTS = TrackedMail(
    DeliveryId(b"m" * 16 + b"\0\1"), 1_700_000_000, "ann@example.net", "example.net", "acme", ("a", "b")
)
MAIL = LINKS.mail(FACTS)


def parts_of(link: str) -> tuple[str, str]:
    assert link.startswith(f"{URL}/c/")
    mail, _, rest = link.removeprefix(f"{URL}/c/").partition("/")
    return mail, rest


def test_a_link_tells_the_delivery_to_a_node_and_to_nobody_else() -> None:
    assert LINKS.read_mail(MAIL) == FACTS
    assert "ann" not in MAIL
    assert LINKS.mail(FACTS) != MAIL
    assert TrackingLinks(b"x" * 32, URL).read_mail(MAIL) is None
    many = TrackedMail(FACTS.id, 1, "a@b.test", tags=tuple(f"tag{number}" for number in range(64)))
    found = LINKS.read_mail(LINKS.mail(many))
    assert found is not None
    assert found.tags == many.tags[:8]


@pytest.mark.parametrize("wrong", ["", "x", "AAAA", MAIL[:-1], MAIL + "A", MAIL[:-2] + "__", "é" * 40, "A" * 5000])
def test_a_mail_that_no_node_made_is_none(wrong: str) -> None:
    assert LINKS.read_mail(wrong) is None


def test_an_address_is_led_to_only_as_a_node_wrote_it() -> None:
    address = "https://shop.example/päge?a=1&b=2#c"
    mail, link = parts_of(LINKS.click(MAIL, address))
    assert LINKS.read_link(mail, link) == address
    _, evil = parts_of(TrackingLinks(b"x" * 32, URL).click(MAIL, "https://evil.example/"))
    assert LINKS.read_link(mail, evil) is None
    assert LINKS.read_link(LINKS.mail(FACTS), link) is None, "a link is good for its mail alone"
    for wrong in ("", "A", link[:-1], link[:-4] + "AAAA", link + "AAAA", "A" * 9000):
        assert LINKS.read_link(mail, wrong) is None


def test_links_to_the_web_lead_over_the_listener_and_others_stay() -> None:
    text = """<a href="https://a.example/x?y=1&amp;z=2">a</a> <A class='b' HREF='http://b.example'>b</A>
<a href=https://c.example/d id=x>c</a> <area shape="rect" href="https://e.example/">
<a href="mailto:x@y.test">m</a> <a href="tel:1">t</a> <a href="/rel">r</a> <a href="#top">h</a> <a name="n">n</a>
<a href="cid:1">c</a> <a href="javascript:x()">j</a> <a href="//f.example/">p</a> <a href="ftp://f.example/">f</a>
<a data-track="off" href="https://g.example/">g</a> <a data-href="https://h.example/">h</a>
<img src="https://i.example/i.png"> <link href="https://j.example/j.css"> <abbr href="https://k.example">k</abbr>"""
    found = with_links(text, LINKS, MAIL)
    led = [part.partition('"')[0] for part in found.split('href="')[1:] + found.split('HREF="')[1:]]
    addresses = {LINKS.read_link(*parts_of(link)) for link in led if link.startswith(URL)}
    assert addresses == {
        "https://a.example/x?y=1&z=2",
        "http://b.example",
        "https://c.example/d",
        "https://e.example/",
    }
    for left in ("mailto:x@y.test", "tel:1", "/rel", "#top", "cid:1", "javascript:x()", "//f.example/", "ftp://"):
        assert f'href="{left}' in found
    for left in ("g.example", "h.example", "i.example", "j.example", "k.example"):
        assert f"https://{left}" in found
    assert "id=x>" in found
    assert with_links(found, LINKS, MAIL) == found, "a link of the listener stays as it is"


def test_an_unclosed_quote_costs_no_time() -> None:
    text = "<a " + 'x="' * 20_000 + "<a " * 20_000
    assert with_links(text, LINKS, MAIL) == text


def test_the_pixel_is_the_last_of_the_body() -> None:
    pixel = LINKS.pixel(MAIL)
    assert with_pixel("<p>x</p>", LINKS, MAIL).endswith(f'{pixel}" width="1" height="1" alt="" '
        'style="border:0;width:1px;height:1px">')  # fmt: skip
    found = with_pixel("<html><BODY>x</BODY ></html>", LINKS, MAIL)
    assert found.endswith("></BODY ></html>")
    assert found.count(pixel) == 1
