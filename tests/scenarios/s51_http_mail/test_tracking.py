"""Opens and clicks of mail: what the recipient gets, what the listener hears, and what log and statistics say."""

import http.client
import re
from typing import Any

from tests.scenarios.s51_http_mail.conftest import TRACKING
from tests.scenarios.s51_http_mail.test_templates import BODY, texts
from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink

READER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
SHOP = "https://shop.example/basket?a=1&b=2"


def visit(place: NodeAndSink, link: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """As a reader's program does, past the proxy that has the host name."""
    host = place.node.ready["tracking"].removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, link.removeprefix("http://click.example.com"), headers=READER | headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def engagement(place: NodeAndSink, kind: str, count: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        found = [one for one in place.node.events() if one["type"] == kind and "trk1" in one.get("tags", ())]
        return found if len(found) >= count else None

    found: list[dict[str, Any]] = until(look, what=f"{count} {kind} are not in the log")
    assert len(found) == count
    return found


def test_opens_and_clicks_are_heard_of(place: NodeAndSink) -> None:
    page = f'<p>{{{{ name }}}} <a href="{SHOP.replace("&", "&amp;")}">shop</a> <a href="mailto:a@b.test">mail</a></p>'
    to = [{"email": f"{name}@trk1.test", "data": {"name": name}} for name in ("ann", "bob")]
    body = BODY | {"to": to, "subject": "s", "html": page, "track": True, "tags": ["trk1"]}
    answer = place.call("POST", "/v1/messages", body, (202,))
    place.rests("trk1", delivered=2)
    html = {to: page for to, (_, _, page) in texts(place, "trk1.test").items()}
    ann = html["ann@trk1.test"]
    (click,) = re.findall(f'href="({TRACKING}/c/[^"]+)"', ann)
    (pixel,) = re.findall(f'src="({TRACKING}/o/[^"]+)"', ann)
    assert 'href="mailto:a@b.test"' in ann
    assert click not in html["bob@trk1.test"]
    assert visit(place, pixel, "HEAD")[0] == 200
    status, headers, picture = visit(place, pixel, **{"X-Forwarded-For": "192.0.2.44"})
    assert (status, headers["Content-Type"], picture[:6]) == (200, "image/gif", b"GIF89a")
    status, headers, _ = visit(place, click)
    assert (status, headers["Location"]) == (302, SHOP)
    assert visit(place, click, **{"User-Agent": "curl/8.0"})[0] == 302
    other = html["bob@trk1.test"].partition(f"{TRACKING}/c/")[2].partition("/")[0]
    stolen = f"{TRACKING}/c/{other}/{click.rpartition('/')[2]}"
    assert visit(place, stolen)[0] == 404, "a link is good for its mail alone"
    assert visit(place, "/v1/messages")[0] == 404
    opens, clicks = engagement(place, "Open", 2), engagement(place, "Click", 2)
    first = answer["recipients"][0]
    assert {one["id"] for one in opens + clicks} == {first["id"]}
    assert {one["recipient"] for one in opens + clicks} == {"ann@trk1.test"}
    (reader,) = [one for one in opens if one["client"] == "192.0.2.44"]
    assert reader["properties"]["agent"] == READER["User-Agent"]
    assert [one.get("reason") for one in clicks if one["properties"]["agent"] == "curl/8.0"] == ["program"]
    assert clicks[0]["properties"]["link"] == SHOP
    record = place.call("GET", f"/v1/messages/{first['id']}")
    assert record["status"] == "SENT", "it changes nothing of the delivery"

    def counted() -> Any:
        found = [one for one in place.call("GET", "/v1/stats?by=link")["stats"] if one["link"] == SHOP]
        return found and found[0]["clicked"] + found[0]["machine_clicked"] == 2

    until(counted, what="the clicks are not counted")

    def in_history() -> Any:
        stats = place.call("GET", "/v1/stats?by=domain")["stats"]
        found = [(one["opened"], one["clicked"]) for one in stats if one["domain"] == "trk1.test"]
        return found == [(2, 2)]

    until(in_history, what="history has not heard of them")
    history = place.call("GET", f"/v1/messages/{first['id']}/history")
    assert [one["type"] for one in history["events"]].count("Open") == 2


def test_several_recipients_of_one_message_are_not_tracked(place: NodeAndSink) -> None:
    body = BODY | {"to": ["a@trk2.test", "b@trk2.test"], "subject": "s", "html": "<p>", "track": True}
    error = place.call("POST", "/v1/messages", body, (422,))["error"]
    assert error["field"] == "track"
