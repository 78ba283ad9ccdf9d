"""The reply book: the shipped entries against their own samples, replies of a log, and labelled replies of other
sources; its order and its limits."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.model.outcomes import Reply, Verdict
from mta.model.phases import Phase
from mta.model.replies import ALIASES, ReplyEntry, UnknownReply, category_of
from mta.policy.replies import ReplyBook, fault_of, merged
from mta.policy.unknown_replies import normalized, provider_of, unknown_reply
from mta.settings_file.shipped_replies import shipped_replies
from mta.smtp.reply_parser import ReplyParser

SHIPPED = shipped_replies()
BOOK = ReplyBook(SHIPPED)
CORPUS = Path(__file__).parents[2] / "corpus" / "replies"
PHASES = {"greet": Phase.GREETING, "mail": Phase.MAIL, "rcpt": Phase.RCPT, "dot": Phase.DOT}
VERDICTS = {"bounce": Verdict.PERMANENT, "retry": Verdict.TEMPORARY}


def rows(name: str) -> list[dict[str, str]]:
    with (CORPUS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def parsed(text: str) -> Reply:
    """`\\n` stands between the lines."""
    (reply,) = ReplyParser().feed(text.replace("\\n", "\r\n").encode() + b"\r\n")
    return reply


def test_the_shipped_entries_are_many_and_each_has_its_evidence() -> None:
    assert len(SHIPPED) >= 150
    assert {entry.category for entry in SHIPPED.values()} <= set(ALIASES)
    for name, entry in SHIPPED.items():
        assert fault_of(entry) is None, name
        assert entry.sample, name
        assert entry.source, name


@pytest.mark.parametrize("name", SHIPPED)
def test_each_entry_is_found_by_its_own_sample(name: str) -> None:
    entry, found = SHIPPED[name], BOOK.find(Phase.RCPT, parsed(SHIPPED[name].sample))
    assert found is not None
    by_text = name.startswith("iana-") and found.category == entry.category  # an entry for its text says the same
    assert by_text or found.entry == name, found


def test_every_registered_enhanced_code_that_says_something_has_an_entry() -> None:
    silent = {"0.0", "1.0", "1.5", "2.0", "3.0", "3.6", "4.0", "4.8", "6.4", "6.10", "7.0", "7.1"}  # the text decides
    subjects = {1: range(11), 2: range(5), 3: range(7), 4: range(9), 5: range(7), 6: range(11), 7: range(31)}
    known = {entry.enhanced[2:] for entry in SHIPPED.values() if entry.enhanced and not entry.pattern}
    every = {f"{subject}.{detail}" for subject, details in subjects.items() for detail in details}
    assert every - known - silent == set()


@pytest.mark.parametrize("row", rows("seen.tsv"), ids=lambda row: row["reply"][:40])
def test_d16_d18_replies_of_a_log_are_known(row: dict[str, str]) -> None:
    verdict, known = BOOK.judge(PHASES[row["phase"]], parsed(row["reply"]))
    assert known is not None
    assert (known.category, known.fault, verdict) == (row["category"], row["fault"], VERDICTS[row["verdict"]]), known


def judged() -> Iterator[tuple[dict[str, str], str, str]]:
    for row in rows("labelled.tsv"):
        known = BOOK.find(Phase.RCPT, parsed(row["reply"]))
        yield row, known.category if known else "", str(known.fault) if known else ""


def test_precision_and_recall_over_replies_of_other_sources() -> None:
    labelled = list(judged())
    assert not {row["source"] for row, _, _ in labelled} & {entry.source for entry in SHIPPED.values()}
    found = [(row, category) for row, category, _ in labelled if category]
    right = sum(category == row["category"] for row, category in found)
    assert len(labelled) >= 150
    assert right / len(found) >= 0.97, "precision of the category"
    assert right / sum(bool(row["category"]) for row, _, _ in labelled) >= 0.95, "recall of the category"
    blamed = [row["fault"] for row, _, fault in labelled if fault == "recipient"]
    assert blamed.count("recipient") / len(blamed) >= 0.98, "an address may be suppressed only by its own fault"


def test_c102_a_reply_before_mail_blames_no_recipient() -> None:
    reply = Reply(550, "5.1.1", "User unknown")
    assert BOOK.find(Phase.GREETING, reply) is None
    assert BOOK.judge(Phase.EHLO, reply).verdict is Verdict.TEMPORARY


def test_c80_the_last_line_counts_for_the_enhanced_code() -> None:
    assert parsed("550-5.1.1 one\\n550 5.7.1 two").enhanced == "5.7.1"
    assert parsed("550-5.1.1 one\\n550 two").enhanced == "5.1.1"


@pytest.mark.parametrize(
    ("line", "enhanced"),
    [
        ("550 Invalid recipient <u@mx.test> (#5.1.1)", "5.1.1"),
        ("550 cuda_nsu 5.1.1 <u@mx.test>: rejected", "5.1.1"),
        ("421 mx.test ESMTP Exim 4.94.2 too many connections", ""),
        ("550 from 5.1.1.7 not taken", ""),
        ("550 4.2.1 of another class", ""),
        ("250 2.0.0 taken as 5.1.1", "2.0.0"),
        ("250 taken as 2.1.1", ""),
    ],
)
def test_d18_an_enhanced_code_is_found_behind_other_words(line: str, enhanced: str) -> None:
    assert parsed(line).enhanced == enhanced


def entry(**fields: object) -> ReplyEntry:
    return ReplyEntry(**({"category": "policy", "fault": "peer", "reaction": "retry"} | fields))  # type: ignore[arg-type]


def test_the_first_entry_that_fits_counts_and_a_name_hides_weaker_ones() -> None:
    mine = {"a": entry(pattern="moon", code=("55x",)), "gmail-unsolicited": entry(enabled=False)}
    layers = merged(mine, SHIPPED)
    assert next(iter(layers)) == "a"
    assert "gmail-unsolicited" not in layers
    book = ReplyBook(layers)
    assert book.judge(Phase.DOT, Reply(554, "5.1.1", "the MOON is full")).verdict is Verdict.TEMPORARY
    assert book.find(Phase.DOT, Reply(450, "", "the moon is full")) is None


def test_a_4xx_never_ends_a_delivery_and_a_2xx_is_not_asked_about() -> None:
    book = ReplyBook({"a": entry(pattern=".", reaction="bounce")})
    assert book.judge(Phase.RCPT, Reply(450, "", "x")).verdict is Verdict.TEMPORARY
    assert book.judge(Phase.RCPT, Reply(550, "", "x")).verdict is Verdict.PERMANENT
    assert book.judge(Phase.DOT, Reply(250, "", "x")).known is None


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("pattern", {"pattern": "a("}),
        ("pattern", {"pattern": r"(a)\1"}),
        ("pattern", {}),
        ("code", {"code": ("5",)}),
        ("enhanced", {"enhanced": "5.1"}),
        ("category", {"pattern": "a", "category": "other"}),
        ("provider", {"pattern": "a", "provider": "a|b"}),
    ],
)
def test_an_entry_that_cannot_be_used_names_its_fault(field: str, fields: dict[str, object]) -> None:
    fault = fault_of(entry(**fields))
    assert fault is not None
    assert fault.field == field


def test_names_of_powermta_and_kumomta_are_categories() -> None:
    assert category_of("bad-mailbox") == category_of("InvalidRecipient") == "bad_mailbox"
    assert (category_of("policy-related"), category_of("quota-issues")) == ("policy", "quota")
    assert (category_of("spam-related"), category_of("other"), category_of("greylisted")) == (
        "ip_block",
        None,
        "greylisted",
    )


def test_unknown_replies_that_differ_in_addresses_and_numbers_are_one() -> None:
    one = Reply(554, "5.9.9", "<a@x.test>: no mail from [192.0.2.1], id 4Xq9zz81 see https://x.test/1")
    two = Reply(554, "5.9.9", "<b@y.test>: no mail from [192.0.2.7], id 7Yq3kk22 see https://x.test/2")
    assert unknown_reply(one, "mx1.mail.test") == unknown_reply(two, "mx2.mail.test")
    assert unknown_reply(one, "mx1.mail.test") == UnknownReply(
        "mail.test", 554, "5.9.9", "<address>: no mail from <ip>, id <id> see <url>"
    )
    assert len(normalized("word " * 1000)) <= 200


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("alt1.gmail-smtp-in.l.google.com", "google.com"),
        ("mx.mail.co.uk", "mail.co.uk"),
        ("MX.Example.ORG.", "example.org"),
        ("192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_a_provider_is_the_domain_of_the_host(host: str, provider: str) -> None:
    assert provider_of(host) == provider
