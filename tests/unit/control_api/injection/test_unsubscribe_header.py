"""List-Unsubscribe of messages that ask for it: one recipient, one link, no header of the sender's own."""

import email

import pytest

from control_api.http.problems import Problem
from control_api.injection.unsubscribing import with_unsubscribe
from mta.content.dkim_signature import SIGNED
from mta.content.tracking_links import TrackingLinks
from mta.model.ids import MessageId, delivery_id
from mta.model.injection import Injection
from mta.model.settings import DkimSettings
from mta.ports.admission import Draft

LINKS = TrackingLinks(b"k" * 32, "https://click.example.com")
ID = MessageId(b"m" * 16)
ASKED = Injection(tags=("t",), tenant="acme", topic="news")


def finished(draft: Draft, asked: Injection = ASKED) -> Draft:
    (one,) = with_unsubscribe([draft], asked, LINKS)
    assert one.finish is not None
    return one.finish(ID)


def test_the_link_stands_for_the_recipient_tenant_and_topic() -> None:
    made = finished(Draft(b"Subject: x\r\n", b"\r\nhello\r\n", ("Ann@example.net",)))
    assert made.finish is None
    header = email.message_from_bytes(made.header + made.rest)
    assert header["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = header["List-Unsubscribe"].strip()
    mail = LINKS.read_unsubscribe(link.removeprefix("<https://click.example.com/u/").removesuffix(">"))
    assert mail is not None
    assert (mail.id, mail.recipient, mail.tenant, mail.topic, mail.tags) == (
        delivery_id(ID, 1), "Ann@example.net", "acme", "news", ("t",),
    )  # fmt: skip


def test_a_message_that_is_made_once_it_has_an_id_gets_it_too() -> None:
    made = finished(Draft(b"", b"", ("a@x.test",), finish=lambda id_: Draft(b"Subject: y\r\n", b"\r\n", ("a@x.test",))))
    assert made.header.startswith(b"Subject: y\r\nList-Unsubscribe:\r\n <https://")


def test_no_line_is_longer_than_a_message_may_have() -> None:
    asked = Injection(tags=tuple(f"{n}" + "t" * 126 for n in range(8)), tenant="a" * 63, topic="x" * 128)
    made = finished(Draft(b"", b"\r\n", ("l" * 64 + "@" + "d" * 60 + ".test",)), asked)
    assert max(map(len, made.header.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "draft",
    [
        Draft(b"Subject: x\r\n", b"\r\n", ("a@x.test", "b@x.test")),
        Draft(b"Subject: x\r\nlist-unsubscribe: <https://x.test>\r\n", b"\r\n", ("a@x.test",)),
    ],
)
def test_several_recipients_and_a_header_of_its_own_are_refused(draft: Draft) -> None:
    with pytest.raises(Problem) as refused:
        with_unsubscribe([draft], ASKED, LINKS)
    assert (refused.value.status, refused.value.field) == (422, "unsubscribe")


def test_signatures_cover_both_fields_and_let_nobody_add_one() -> None:
    for name in ("list-unsubscribe", "list-unsubscribe-post"):
        assert name.encode() in SIGNED
        assert name in DkimSettings().oversign
