"""Mail is signed with the active keys of the domain that answers for it, and independent verifiers agree."""

import json
import shutil
import signal
import smtplib

import psutil
import pytest
import redis

from mta.model.dkim_keys import PUBLISHED_FOR
from mta.model.units import parse_time
from tests.scenarios.s41_dkim.conftest import Signing
from tests.support.dkim_judge import records_of, signatures, verified
from tests.support.node import Node, module_of, running, signal_to, until


def test_s110_all_active_keys_of_a_domain_sign(place: Signing) -> None:
    rsa = place.key("two.test", "r1", algorithm="rsa")
    ed = place.key("two.test", "e1")
    message = place.signed_by("Some One <a@two.test>", "e1", "r1")
    assert verified(message, records_of(rsa, ed)) == ["e1", "r1"]
    first, second = signatures(message)
    assert (first["a"], second["a"], first["d"]) == ("ed25519-sha256", "rsa-sha256", "two.test")
    assert first["h"].split(":").count("from") == 2
    assert message.startswith(b"Received: ")
    place.call("DELETE", f"/v1/dkim/{ed['id']}")
    assert verified(place.signed_by("a@two.test", "r1"), records_of(rsa)) == ["r1"]


def test_mail_is_signed_with_rsa_although_the_process_that_does_it_dies(place: Signing) -> None:
    key = place.key("beside.test", "r1", algorithm="rsa")
    place.signed_by("a@beside.test", "r1")
    assert place.node.process
    processes = psutil.Process(place.node.process.pid).children(recursive=True)
    signers = [process.pid for process in processes if "mta.runtime.signer" in module_of(process)]
    assert signers
    for pid in signers:
        signal_to(pid, signal.SIGKILL)
    for _ in range(5):
        assert verified(place.sent("a@beside.test"), records_of(key)) == ["r1"]


def test_a_key_waits_for_dns_and_the_old_one_signs_and_stays_published(place: Signing) -> None:
    old = place.key("turn.test", "s1", state="pending")
    assert old["state"] == "pending"
    assert signatures(place.sent("a@turn.test")) == []
    looked = place.call("POST", f"/v1/dkim/{old['id']}/check")
    assert (looked["state"], looked["dns"]["shows"]) == ("pending", False)
    place.publish(old)
    looked = place.call("POST", f"/v1/dkim/{old['id']}/check")
    assert (looked["state"], looked["dns"]["shows"]) == ("active", True)
    place.signed_by("a@turn.test", "s1")

    new = place.call("POST", f"/v1/dkim/{old['id']}/rotate", {"selector": "s2"})
    assert (new["state"], new["replaces"], new["algorithm"]) == ("pending", old["id"], "ed25519")
    assert [tags["s"] for tags in signatures(place.sent("a@turn.test"))] == ["s1"]
    place.publish(new)
    assert place.call("POST", f"/v1/dkim/{new['id']}/check")["state"] == "active"
    message = place.signed_by("a@turn.test", "s2")
    assert verified(message, records_of(new)) == ["s2"]
    gone = place.call("GET", f"/v1/dkim/{old['id']}")
    assert gone["state"] == "retired"
    kept = parse_time(gone["keep_until"], "", 0) - parse_time(gone["retired_at"], "", 0)
    assert kept == PUBLISHED_FOR == 7 * 86_400_000


def test_a_pending_key_whose_record_is_there_becomes_active_by_itself(place: Signing) -> None:
    key = place.key("itself.test", "s2", state="pending")
    place.publish(key)
    until(lambda: place.call("GET", f"/v1/dkim/{key['id']}")["state"] == "active", what="no process looked")


def test_a_tenants_domain_and_the_default_one_sign_for_others(place: Signing) -> None:
    place.key("house.test", "h1")
    place.key("acme.test", "a1")
    place.call("PUT", "/v1/tenants/acme?wait=50s", {"dkim_domain": "acme.test"}, (200, 201))
    assert place.call("GET", "/v1/tenants/acme")["dkim_domain"] == "acme.test"
    place.signed_by("x@nokey.test", "h1")
    place.signed_by("x@nokey.test", "a1", X_MQ_Tenant="acme")
    place.signed_by("x@nokey.test", "h1", X_MQ_Tenant="rival")


def test_private_keys_are_in_the_store_sealed_and_nowhere_else(place: Signing) -> None:
    secret = "MC4CAQAwBQYDK2VwBCIEIHhs0Qb6+yf2oNYXn1tqcxAfzPWkQk4BjvUBOQcuVlzT"
    pem = f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"
    made = place.key("given.test", "g1", private_key=pem)
    assert verified(place.signed_by("a@given.test", "g1"), records_of(made)) == ["g1"]
    with redis.Redis.from_url(str(place.node.ready["redis"])) as store:
        stored = b"".join(value for value in store.hgetall("fg:{meta}:dkim").values())
        seed = b"\x78\x6c\xd1\x06\xfa\xfb"  # the first octets of it
        assert b"given.test" in stored
        assert seed not in stored
    told = [json.dumps(made), json.dumps(place.call("GET", "/v1/dkim")), json.dumps(place.call("GET", "/v1/audit"))]
    assert not any(secret in text for text in (*told, place.node.errors()))
    key = place.node.folder / "cluster.key"
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"domain": "two.test"}, 400, "selector"),
        ({"domain": "localhost", "selector": "s"}, 400, "domain"),
        ({"domain": "bad.test", "selector": "-s"}, 400, "selector"),
        ({"domain": "bad.test", "selector": "s", "private_key": "no key"}, 400, "private_key"),
        ({"domain": "bad.test", "selector": "s", "algorithm": "dsa"}, 400, "algorithm"),
        ({"domain": "two.test", "selector": "r1"}, 409, "selector"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_by_its_field(
    place: Signing, body: dict[str, str], status: int, field: str
) -> None:
    answer = place.call("POST", "/v1/dkim", {"algorithm": "ed25519"} | body, (status,))
    assert answer["error"]["field"] == field


def test_the_commands_make_rotate_check_and_remove_keys(place: Signing) -> None:
    def run(*words: str) -> str:
        done = place.floodgate(*words)
        assert done.exit_code in (0, 1), done.output
        return done.stdout

    assert "s1._domainkey.shell.test. TXT v=DKIM1; k=ed25519; p=" in run(
        "dkim", "add", "shell.test", "--selector", "s1", "--algorithm", "ed25519"
    )
    (key,) = json.loads(run("dkim", "list", "--domain", "shell.test", "--json"))
    assert "no TXT record" in run("dkim", "check", "shell.test")
    place.publish(key)
    assert "active" in run("dkim", "check", "shell.test/s1")
    assert "s2._domainkey.shell.test" in run("dkim", "rotate", "shell.test", "--selector", "s2", "--active")
    states = {
        key["selector"]: key["state"] for key in json.loads(run("dkim", "list", "--domain", "shell.test", "--json"))
    }
    assert states == {"s1": "retired", "s2": "active"}
    assert "removed s2._domainkey.shell.test" in run("dkim", "remove", "shell.test/s2", "--yes")


def test_a_domain_is_checked_as_receivers_see_it(place: Signing) -> None:
    key = place.key("whole.test", "w1")
    stub = place.dns.stub
    stub.a("mail.whole.test", "127.0.0.1")
    stub.ptr("127.0.0.1", "mail.whole.test")
    stub.txt("whole.test", "some other text", "v=spf1 include:_spf.whole.test -all")
    stub.txt("_spf.whole.test", "v=spf1 a:mail.whole.test ~all")
    stub.txt("_dmarc.whole.test", "v=DMARC1; p=reject; adkim=s")
    stub.txt("_mta-sts.whole.test", "v=STSv1; id=20261130")
    place.publish(key)
    done = place.floodgate("domains", "check", "whole.test", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"]) == (0, True), found
    assert (found["ips"][0]["spf"], found["ips"][0]["names"]) == ("pass", ["mail.whole.test"])
    assert (found["dmarc"]["policy"], found["dmarc"]["spf_aligned"], found["dmarc"]["dkim_aligned"]) == (
        "reject", True, True,
    )  # fmt: skip
    assert "mail to whole.test has a policy" in place.floodgate("domains", "check", "whole.test").stdout
    done = place.floodgate("domains", "check", "nothing.test")
    assert done.exit_code == 1
    assert "no SPF record" in done.stdout
    assert "there is no policy" in done.stdout


def test_a_second_node_signs_once_it_has_the_clusters_key(place: Signing) -> None:
    place.key("pair.test", "p1")
    sets = {"rules__max_staleness": "1s", "delivery__route": place.sink.address, "dkim__sign": "required"}
    folder = place.node.folder.parent / "n2"
    other = Node(folder, "n2", redis=place.node.ready["redis"], workers=1, **sets)
    with running(other):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            place.sent("a@pair.test", other)
        assert refused.value.smtp_code == 451
        until(lambda: "cluster.key is missing" in other.errors())
        shutil.copy(place.node.folder / "cluster.key", folder / "cluster.key")

        def takes_it() -> bool:
            try:
                return [tags["s"] for tags in signatures(place.sent("a@pair.test", other))] == ["p1"]
            except smtplib.SMTPDataError:
                return False

        until(takes_it, what="the key was copied, and mail is not signed")
        with pytest.raises(smtplib.SMTPDataError, match="cannot be signed"):
            place.sent("a@[192.0.2.1]", other, X_MQ_Tenant="none")
