"""Mail for a pool that no node serves, or an IP address that no node holds, waits visibly and expires in time."""

import json
import re
from typing import Any

from tests.support.node import until
from tests.support.rest import ask


def metric(place: Any, pool: str) -> float | None:
    text = ask(place.api, "GET", "/metrics").body.decode()
    found = re.search(rf'floodgate_unserved_oldest_seconds{{pool="{re.escape(pool)}"}} ([0-9.e+]+)', text)
    return float(found[1]) if found else None


def test_i9_mail_that_nobody_serves_is_visible_and_expires(place: Any):
    until(lambda: ask(place.api, "GET", "/readyz").body == {"status": "ready"})
    (of_pool,) = place.node.send("a@nobody.test", ("i9",), X_MQ_Pool="nobodys")
    (of_ip,) = place.node.send("b@nobody.test", ("i9",), X_MQ_IP="192.0.2.77")
    (short,) = place.node.send("c@nobody.test", ("i9",), X_MQ_Pool="nobodys", X_MQ_MaxDeliverTime="+1s")
    (served,) = place.node.send("d@nobody.test", ("i9",))
    warnings = until(lambda: (w := ask(place.api, "GET", "/readyz").body.get("warnings", [])) and len(w) == 2 and w)
    assert any("192.0.2.77" in warning for warning in warnings)
    assert any("nobodys" in warning for warning in warnings)
    until(lambda: ask(place.api, "GET", "/readyz").status == 200, what="other mail does not go out")
    for message, name in ((of_pool, "nobodys"), (of_ip, "192.0.2.77")):
        found = ask(place.api, "GET", f"/v1/messages/{message}").body["recipients"][0]
        assert found["status"] == "ENQUEUED"
        assert name in found["waits"]
    queues = ask(place.api, "GET", "/v1/queues?domain=nobody.test").body["queues"]
    assert {"nobodys", "@192.0.2.77"} == {queue["pool"] for queue in queues if queue["why"][0]["reason"] == "unserved"}
    assert (metric(place, "nobodys") or 0) >= 5
    assert (metric(place, "@192.0.2.77") or 0) >= 5
    assert metric(place, "default") is None
    until(lambda: ask(place.api, "GET", f"/v1/messages/{served}").body["status"] == "SENT")
    expired = until(
        lambda: (r := ask(place.api, "GET", f"/v1/messages/{short}").body)["status"] == "UNDELIVERABLE" and r
    )
    assert expired["reason"] == "EXPIRED"
    assert (expired["recipients"][0]["pool"], expired["recipients"][0]["attempts"]) == ("nobodys", 0)
    lines = until(lambda: [e for e in place.node.events() if e["type"] == "Expiration" and e["message_id"] == short])
    assert (lines[0]["enhanced"], lines[0]["origin"]) == ("4.4.7", "local")
    assert "nobodys" in lines[0]["reason"]

    def lines_of_the_log() -> list[str]:
        return [line for line in place.node.errors().splitlines() if "mail waits in pool" in line]

    until(lambda: len(lines_of_the_log()) == 2)
    assert sorted("@192" in line for line in lines_of_the_log()) == [False, True], "one line for each"
    statement = ask(place.api, "GET", "/v1/tags/i9").body
    assert (statement["expired"], statement["queued"], statement["balanced"]) == (1, 2, True)
    order = json.dumps({"code": 554, "tag": "i9"}).encode()
    made = ask(place.api, "POST", "/v1/errors?wait=50s&until=swept", order).body
    until(lambda: ask(place.api, "GET", "/readyz").body == {"status": "ready"})
    assert ask(place.api, "DELETE", f"/v1/errors/{made['id']}").status == 200
