"""Damages to idempotency keys: a call that is accepted twice, lost, or answered with another's answer."""

from tests.mutations.mutation import Mutation

_LUA = "mta/redis_store/steps/01_idempotency.lua"
_ACCEPT_LUA = "mta/redis_store/steps/accept.lua"
_COMMIT = "mta/admission/group_commit.py"
_BATCH = "mta/admission/batch.py"
_ONCE = "mta/admission/once.py"
_KNOWN = "mta/admission/known_calls.py"
_CALLS = "mta/admission/calls.py"
_KEYED = "mta/admission/keyed_calls.py"

_T_STORE = "tests/integration/redis_store/test_idempotency.py::test_"
_T_CALLS = "tests/integration/test_keyed_calls.py::test_"
_T_COMMIT = "tests/unit/admission/test_group_commit.py::test_"
_T_ONCE = "tests/unit/admission/test_once.py::test_"

KEYS = (
    Mutation(
        "keys: the accept step looks first",
        _ACCEPT_LUA,
        "local known = once[1] and idempotency.known(P, session, once)",
        "local known = nil",
        _T_STORE + "a_key_that_is_known_stores_nothing_and_says_what_stands[plain]",
    ),
    Mutation(
        "keys: they are kept in the step that accepts",
        _ACCEPT_LUA,
        "    idempotency.keep(P, session, once)\n",
        "",
        _T_STORE + "a_key_that_is_known_stores_nothing_and_says_what_stands[plain]",
    ),
    Mutation(
        "keys: a part runs where the one before it ended",
        _LUA,
        "may_run = done == begin and done < total",
        "may_run = done < total",
        _T_STORE + "each_part_runs_once_and_in_order_and_only_for_the_session_that_works_on_the_call[plain]",
    ),
    Mutation(
        "keys: a part runs for the session that works on the call",
        _LUA,
        " and owner == session and string.sub(stands, 1, 24)",
        " and string.sub(stands, 1, 24)",
        _T_STORE + "each_part_runs_once_and_in_order_and_only_for_the_session_that_works_on_the_call[plain]",
    ),
    Mutation(
        "keys: nobody takes a call from a living session",
        _LUA,
        "owner ~= session and lives == 0 then",
        "owner ~= session then",
        _T_STORE + "each_part_runs_once_and_in_order_and_only_for_the_session_that_works_on_the_call[plain]",
    ),
    Mutation(
        "keys: a dead session lives no more",
        _LUA,
        "(mark and string.sub(mark, 1, 1) ~= 'x') and 1 or 0",
        "mark and 1 or 0",
        _T_STORE + "a_call_whose_session_is_dead_goes_on_with_another[plain]",
    ),
    Mutation(
        "keys: a message that is refused keeps none",
        _LUA,
        "if mode == idempotency.KEEP then",
        "if true then",
        _T_STORE + "a_message_that_a_rule_refuses_keeps_no_key_but_a_known_one_is_answered[plain]",
    ),
    Mutation(
        "keys: none without room",
        _LUA,
        "begin == 0 and mode ~= idempotency.NO_ROOM, 0",
        "begin == 0, 0",
        _T_STORE + "without_room_a_known_key_is_answered_and_a_new_one_is_not_kept[plain]",
    ),
    Mutation(
        "keys: the rest of a batch goes under the same number",
        "mta/redis_store/queues.py",
        "self._numbers[lane] -= 1",
        "pass",
        _T_STORE + "of_a_batch_with_known_keys_nothing_is_stored_and_the_rest_goes_under_the_same_number[plain]",
    ),
    Mutation(
        "keys: known parts are taken out of the batch",
        _BATCH,
        "del self.messages[begin:end], self.done[begin:end]",
        "del self.messages[begin:end]",
        _T_COMMIT + "parts_whose_calls_are_known_are_answered_and_the_rest_of_the_batch_is_stored",
    ),
    Mutation(
        "keys: one message of a key at a time",
        _ONCE,
        "        if key.name in self._under_way:\n            return UNDER_WAY\n",
        "",
        _T_ONCE + "a_message_whose_key_is_under_way_is_told_to_come_again",
    ),
    Mutation(
        "keys: the content must be the same",
        _ONCE,
        "        if kept.content != key.content:\n            return OTHER_CONTENT\n",
        "",
        _T_ONCE + "a_repeat_gets_the_reply_of_the_first_and_other_content_is_refused",
    ),
    Mutation(
        "keys: the content of a call must be the same",
        _KEYED,
        "        if kept.content != key.content:\n            raise KeyRefusal(KeyTrouble.OTHER_CONTENT)\n",
        "",
        _T_CALLS + "a_repeat_has_the_same_answer_at_any_process[plain]",
    ),
    Mutation(
        "keys: tenants are apart",
        "mta/admission/submission.py",
        "(TRUSTED_NETWORKS, asked.tenant), asked",
        "(TRUSTED_NETWORKS,), asked",
        _T_ONCE + "other_keys_and_other_tenants_are_other_calls",
    ),
    Mutation(
        "keys: they outlive the time that the mail is scheduled for",
        _ONCE,
        "self._window_ms + max(0, message.due_at - message.accepted_at)",
        "self._window_ms",
        _T_ONCE + "a_key_is_kept_for_the_window_after_the_time_that_the_mail_is_scheduled_for",
    ),
    Mutation(
        "keys: refused messages stay refused in the repeat",
        _KNOWN,
        'b"".join(differences)',
        'b""',
        _T_CALLS + "messages_that_a_rule_refuses_stay_refused_in_the_repeat[plain]",
    ),
    Mutation(
        "keys: a call whose first part was not stored stops",
        _CALLS,
        "        if kept is None or kept.first != part.first or kept.done < part.begin + part.messages:\n"
        "            raise _NotStored(reply)\n        replies = replies_of(kept)\n"
        "        return [replies[place_in_row(part.first, message.id)] for message in messages]\n",
        "        return [reply] * len(messages)\n",
        _T_CALLS + "of_a_call_whose_first_part_fails_nothing_is_kept[plain]",
    ),
    Mutation(
        "keys: a call that stopped is left",
        _KEYED,
        "                if work.is_open:\n                    self._leave_soon(key)\n",
        "                pass\n",
        _T_CALLS + "a_call_that_stopped_goes_on_where_it_was",
    ),
    Mutation(
        "keys: one process works on a call",
        _KEYED,
        "        elif not ours:\n            raise KeyRefusal(KeyTrouble.UNDER_WAY)\n",
        "",
        _T_CALLS + "a_call_that_another_process_works_on_is_told_to_come_again[plain]",
    ),
)
