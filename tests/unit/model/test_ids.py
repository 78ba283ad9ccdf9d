"""Texts of ids."""

from hypothesis import given
from hypothesis import strategies as st

from mta.model.ids import MessageId, delivery_id, message_text, message_texts, parse_message_id

MESSAGES = st.binary(min_size=16, max_size=16).map(MessageId)


@given(st.lists(MESSAGES, max_size=5), st.integers(1, 65535))
def test_texts_of_many_messages_are_those_of_each(messages: list[MessageId], number: int) -> None:
    for copies in (1, 100):  # more than are made at once
        many = copies * messages
        assert message_texts([delivery_id(one, number) for one in many]) == [message_text(one) for one in many]


@given(MESSAGES.filter(lambda message: message[0] < 128))
def test_a_text_leads_back_to_its_message(message: MessageId) -> None:
    assert parse_message_id(message_text(message)) == message
