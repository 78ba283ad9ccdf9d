"""The reply watch: entries of the cluster over those of the node, and unknown replies counted once."""

from mta.egress.reply_knowledge import MOST_UNKNOWN, ReplyKnowledge
from mta.egress.reply_watch import ReplyWatch
from mta.model.outcomes import Reply, Verdict
from mta.model.phases import Phase
from mta.model.replies import ReplyEntry
from tests.support.replies import Replies

MOON = Reply(554, "", "the moon is full")
SHIPPED = {"moon": ReplyEntry(pattern="moon", category="policy", fault="peer", reaction="bounce")}


def entry(**fields: object) -> ReplyEntry:
    return ReplyEntry(**({"category": "rate_limited", "fault": "peer", "reaction": "retry"} | fields))  # type: ignore[arg-type]


async def test_an_entry_of_the_cluster_hides_a_weaker_one_until_it_goes() -> None:
    store, knowledge = Replies(), ReplyKnowledge()
    watch = ReplyWatch(store, knowledge, (SHIPPED,))
    await watch.look()
    assert knowledge.judge(Phase.DOT, MOON, "mx.test").verdict is Verdict.PERMANENT
    await store.put("moon", entry(pattern="moon"))
    await watch.look()
    assert knowledge.judge(Phase.DOT, MOON, "mx.test").verdict is Verdict.TEMPORARY
    await store.remove("moon")
    await watch.look()
    assert knowledge.judge(Phase.DOT, MOON, "mx.test").verdict is Verdict.PERMANENT


async def test_an_entry_of_another_release_is_left_out_and_the_others_count() -> None:
    store, knowledge = Replies(), ReplyKnowledge()
    await store.put("a-bad", entry(pattern="a("))
    await store.put("b-good", entry(pattern="moon"))
    await ReplyWatch(store, knowledge, ()).look()
    known = knowledge.find(Phase.DOT, MOON, "mx.test")
    assert known is not None
    assert known.entry == "b-good"


async def test_unknown_replies_are_told_once_and_bounded() -> None:
    store, knowledge = Replies(), ReplyKnowledge()
    watch = ReplyWatch(store, knowledge, (), clock=lambda: 7)
    for _ in range(3):
        knowledge.judge(Phase.RCPT, MOON, "mx1.mail.test")
    await watch.tell()
    await watch.tell()
    ((reply, many, last_at),) = await store.unknown()
    assert (reply.provider, reply.text, many, last_at) == ("mail.test", "the moon is full", 3, 7)
    for word in range(MOST_UNKNOWN + 5):
        letters = "".join(chr(97 + int(digit)) for digit in str(word))
        knowledge.judge(Phase.RCPT, Reply(554, "", f"no {letters}"), "mx.test")
    assert len(knowledge.take_unknown()) == MOST_UNKNOWN
