"""The lines that the promise of a forced error rests on, each with a damage and the test that must notice."""

from tests.mutations.brakes import BRAKES
from tests.mutations.calls import CALLS
from tests.mutations.client import CLIENT
from tests.mutations.keys import KEYS
from tests.mutations.limits import LIMITS
from tests.mutations.mutation import Mutation
from tests.mutations.pools import POOLS
from tests.mutations.records import AUDIT, BULK, CANARIES, HISTORY, PREVIEWS, SELECTORS, TOKENS, WORK
from tests.mutations.routes import ROUTES
from tests.mutations.scheduled import SCHEDULED
from tests.mutations.sites import SITES
from tests.mutations.templates import TEMPLATES
from tests.mutations.webhooks import WEBHOOKS

_GUARD = "mta/rules/guard.py"
_ORDERS = "mta/orders/order_book.py"
_BOUNDED = "mta/sweeps/bounded_orders.py"
_RULES_LUA = "mta/redis_store/steps/rules.lua"
_START = "mta/egress/transaction_start.py"
_LAST_LOOK = "mta/egress/last_look.py"

_T_GUARD = "tests/unit/rules/test_guard.py::test_"
_T_ORDERS = "tests/unit/orders/test_order_book.py::test_"
_T_HISTORY = "tests/unit/rules/test_histories.py::test_"
_T_EGRESS = "tests/unit/egress/test_transactions.py::test_"
_T_STORE = "tests/integration/redis_store/test_rule_store.py::test_"
_T_QUEUES = "tests/integration/redis_store/test_queues.py::test_"
_T_FRESH = "tests/integration/redis_store/test_fresh_claims.py::test_"
_T_SHARES = "tests/integration/redis_store/test_shares.py::test_"
_T_MOVES = "tests/integration/redis_store/test_queue_work.py::test_"
_T_CONTENTS = "tests/integration/redis_store/test_contents_beside.py::test_"
_T_DISPATCHER = "tests/unit/scheduling/test_dispatcher.py::test_"
_T_SETTLER = "tests/unit/scheduling/test_settler.py::test_"
_T_SWEEPER = "tests/unit/sweeps/test_sweeper.py::test_"
_T_BOUNDS = "tests/unit/policy/test_bounded_orders.py::test_"
_T_BOUNDED = "tests/unit/sweeps/test_bounded_orders.py::test_"
_T_FORMATS = "tests/integration/redis_store/test_rule_formats.py::test_k15_"
_T_REAPER = "tests/unit/scheduling/test_reaper.py::test_"
_T_WORKER = "tests/unit/runtime/test_worker.py::test_"


PERMIT = (
    Mutation(
        "the permit (MAIL): the guard",
        _GUARD,
        "return self._now() < self._permit_until - self._staleness / 2",
        "return True",
        _T_GUARD + "mail_stops_half_a_staleness_before_the_dot",
    ),
    Mutation(
        "the permit (MAIL): half of S is left",
        _GUARD,
        "self._permit_until - self._staleness / 2",
        "self._permit_until",
        _T_GUARD + "mail_stops_half_a_staleness_before_the_dot",
    ),
    Mutation(
        "the permit (MAIL): egress asks",
        _START,
        "elif not self._rules.may_send_mail():",
        "elif False:",
        _T_EGRESS + "no_mail_while_there_is_no_permit[pipelined]",
    ),
    Mutation(
        "the permit (MAIL): asked again when the content has come",
        _START,
        "may_begin = self._rules.may_send_mail() and transaction.begins_before > wall_ms()",
        "may_begin = transaction.begins_before > wall_ms()",
        _T_EGRESS + "a_permit_that_ran_out_while_the_content_was_fetched[pipelined]",
    ),
    Mutation(
        "the permit (dot): the guard",
        _GUARD,
        "return self._now() < self._permit_until\n",
        "return True\n",
        _T_HISTORY + "a_suspended_machine",
    ),
    Mutation(
        "the permit (dot): egress asks",
        _LAST_LOOK,
        "elif rules.may_send_dot():",
        "elif True:",
        _T_EGRESS + "a_dot_that_waits_too_long_is_returned[pipelined]",
    ),
    Mutation(
        "the permit is less than S",
        _GUARD,
        "PERMIT_SHARE: Final = 0.9",
        "PERMIT_SHARE: Final = 1.9",
        _T_GUARD + "permit_counts_from_before_it_was_asked_for",
    ),
    Mutation(
        "no delivery before the first OK",
        _GUARD,
        'self._staleness = 0.0  # S, seconds\n        self._permit_until = float("-inf")',
        'self._staleness = 0.0  # S, seconds\n        self._permit_until = float("inf")',
        _T_GUARD + "no_delivery_before_the_first_ok",
    ),
    Mutation(
        "b0: taken after the question",
        _GUARD,
        "self._permit_until = asked_at + PERMIT_SHARE * self._staleness",
        "self._permit_until = self._now() + PERMIT_SHARE * self._staleness",
        _T_GUARD + "permit_counts_from_before_it_was_asked_for",
    ),
    Mutation(
        "a lost session has no permit",
        _GUARD,
        'lost = self._store.session\n        self._permit_until = float("-inf")',
        "lost = self._store.session",
        _T_GUARD + "lost_session_stops_drops_and_begins_anew",
    ),
    Mutation(
        "the clock counts suspension",
        "mta/timing/clock.py",
        "time.CLOCK_BOOTTIME",
        "time.CLOCK_MONOTONIC",
        _T_HISTORY + "a_suspended_machine",
    ),
)

LOOKS = (
    Mutation(
        "the last look",
        _LAST_LOOK,
        "UNDECIDED if table.is_empty else rules_for(table, transaction, connection.peer)",
        "UNDECIDED",
        _T_EGRESS + "the_last_look_sees_the_table_as_it_is[pipelined]",
    ),
    Mutation(
        "the second look",
        "mta/egress/second_look.py",
        "        if self._rules.may_send_dot():\n            return\n",
        "        return\n",
        _T_EGRESS + "a_dot_written_past_the_permit_is_reported_as_escaped[pipelined]",
    ),
    Mutation(
        "the second look: of each dot",
        "mta/egress/connection.py",
        "self._dots.dot_written(self, transaction)",
        "pass",
        _T_HISTORY + "a_stop_between_look_and_write",
    ),
    Mutation(
        "transactions that have begun end when the table is swapped",
        "mta/egress/egress.py",
        "rules.on_change(self.on_change)",
        "rules.on_change(lambda table: [])",
        _T_EGRESS + "what_is_past_its_dot_is_listed_once_and_remembers_the_rule[pipelined]",
    ),
)

CONFIRMATION = (
    Mutation(
        "the wait for confirmations: a head beyond the change",
        "mta/orders/order.py",
        "elif state.head.generation >= self.head.generation:",
        "else:",
        _T_ORDERS + "effective_when_every_session_of_the_wait_set_has_confirmed",
    ),
    Mutation(
        "the wait for confirmations: until all have left",
        _ORDERS,
        "        await order.wait_set.emptied.wait()\n",
        "",
        _T_ORDERS + "a_lifting_that_time_decides_has_its_barrier_raised_before_and_keeps_its_word",
    ),
    Mutation(
        "the wait for confirmations: S + 0.5 s",
        _ORDERS,
        "await self._store.max_staleness() + GRACE",
        "await self._store.max_staleness() / 2",
        _T_ORDERS + "stopped_worker_leaves_the_wait_set_by_time_and_stays_named",
    ),
    Mutation(
        "swap with hooks before confirm",
        _GUARD,
        "        self._hooks_due = True\n        self._run_change_hooks()\n",
        "        asyncio.get_running_loop().call_soon(self._run_change_hooks)\n",
        _T_GUARD + "behind_swaps_lists_and_only_then_confirms",
    ),
    Mutation(
        "a hook that failed runs again before confirm",
        _GUARD,
        "        if self._hooks_due:\n",
        "        if False:\n",
        _T_GUARD + "hook_that_fails_is_run_again_before_anything_is_confirmed",
    ),
    Mutation(
        "cancellations are acted upon before the permit is renewed",
        _GUARD,
        "        self._hear_of(answer.canceled)\n        self._run_cancel_hooks()\n",
        "        self._hear_of(answer.canceled)\n",
        _T_GUARD + "a_cancellation_that_could_not_be_acted_upon_renews_no_permit",
    ),
    Mutation(
        "compare-and-set in rules_confirm: the generation",
        _RULES_LUA,
        "if mine ~= generation or my_change ~= change then",
        "if false then",
        _T_STORE + "a_put_moves_the_head_and_returns_who_must_confirm[plain]",
    ),
    Mutation(
        "compare-and-set in rules_confirm: the change",
        _RULES_LUA,
        "if mine ~= generation or my_change ~= change then",
        "if mine ~= generation then",
        _T_STORE + "a_head_that_is_no_ancestor_must_reload[plain]",
    ),
    Mutation(
        "rules_confirm refuses who was given up",
        _RULES_LUA,
        "if known and cmsgpack.unpack(known)[4] or not known and seq > 1 then",
        "if not known and seq > 1 then",
        _T_STORE + "a_dead_session_is_told_so_and_one_that_moved_on_is_not_given_up[plain]",
    ),
    Mutation(
        "rules_confirm refuses who was forgotten",
        _RULES_LUA,
        "if known and cmsgpack.unpack(known)[4] or not known and seq > 1 then",
        "if known and cmsgpack.unpack(known)[4] then",
        _T_STORE + "a_dead_session_is_told_so_and_one_that_moved_on_is_not_given_up[plain]",
    ),
    Mutation(
        "the wait set: taken from before the put",
        "mta/redis_store/rule_store.py",
        "        answer = await self._certain(step_keys, args)\n",
        "        before = [name.encode() for name in await self.sessions()]\n"
        "        answer = await self._certain(step_keys, args)\n"
        "        answer = [answer[0], before]\n",
        _T_STORE + "who_registers_while_a_rule_is_put_is_waited_for_or_has_it[plain]",
    ),
    Mutation(
        "the wait set: those that deliver",
        _RULES_LUA,
        "if role == 'delivery' then",
        "if role then",
        _T_STORE + "only_processes_that_deliver_are_waited_for[plain]",
    ),
    Mutation(
        "the wait set: those that deliver, after a restart of the API too",
        _ORDERS,
        "if state.delivers and not state.dead)",
        "if not state.dead)",
        _T_ORDERS + "only_sessions_that_deliver_are_waited_for",
    ),
    Mutation(
        "a confirmation that a failover may forget does not count",
        "mta/redis_store/session_store.py",
        'self._link.call_kept(b"rules_confirm"',
        'self._link.call(b"rules_confirm"',
        "tests/integration/test_replicas.py::test_a_master_that_lost_its_replicas_confirms_nothing",
    ),
    Mutation(
        "goodbye before the last dot",
        "mta/runtime/worker.py",
        "                await asyncio.gather(*parts)\n",
        "                await self._guard.stop(True)\n                await asyncio.gather(*parts)\n",
        _T_WORKER + "the_goodbye_comes_after_the_last_dot_and_the_last_claim",
    ),
    Mutation(
        "goodbye although claims are held",
        "mta/runtime/worker.py",
        "        goodbye = False\n",
        "        goodbye = True\n",
        _T_WORKER + "no_goodbye_while_claims_are_held",
    ),
)

DEATH = (
    Mutation(
        "reaping by observation: of a number that moves",
        "mta/scheduling/reaper.py",
        "            if seq != state.seq:\n                since = now\n",
        "",
        _T_REAPER + "only_who_stands_still_beyond_the_lease_is_taken_back",
    ),
    Mutation(
        "reaping by observation: for a lease",
        "mta/scheduling/reaper.py",
        "stood_still = now - self._seen[name][1] > self._lease",
        "stood_still = True",
        _T_REAPER + "only_who_stands_still_beyond_the_lease_is_taken_back",
    ),
    Mutation(
        "reaping by observation: not over time in which nobody could confirm",
        "mta/scheduling/reaper.py",
        "        self._seen.clear()\n",
        "",
        _T_REAPER + "time_in_which_the_store_was_away_counts_for_nobody",
    ),
    Mutation(
        "reaping by observation: the number that was seen",
        _RULES_LUA,
        "if argv[2] ~= '' and state[3] ~= tonumber(argv[2]) then",
        "if false then",
        _T_STORE + "a_dead_session_is_told_so_and_one_that_moved_on_is_not_given_up[plain]",
    ),
    Mutation(
        "reaping by observation: a question asked again moves the number",
        _RULES_LUA,
        "seq = math.max(seq, cmsgpack.unpack(known)[3] + 1)",
        "seq = math.max(seq, cmsgpack.unpack(known)[3])",
        _T_STORE + "a_question_asked_again_moves_the_number_too[plain]",
    ),
)

PAST_DOT = (
    Mutation(
        "past_dot: told with the confirmation",
        _GUARD,
        "[entry for _, entry in listed]",
        "[]",
        _T_GUARD + "behind_swaps_lists_and_only_then_confirms",
    ),
    Mutation(
        "past_dot: told until it was taken",
        _GUARD,
        "        listed = tuple(self._listed.items())\n",
        "        listed = tuple(item for item in self._listed.items() if item[1])\n"
        "        self._listed = dict.fromkeys(self._listed)\n",
        _T_GUARD + "list_is_told_again_until_it_was_taken[question]",
    ),
    Mutation(
        "past_dot: stored in the step that registers",
        _RULES_LUA,
        "    redis.call('HSETNX', past, argv[i + 1], argv[i + 2])\n",
        "",
        _T_STORE + "what_was_past_its_dot_is_listed_once_and_settled_once[plain]",
    ),
    Mutation(
        "past_dot: listed by egress",
        "mta/egress/rule_changes.py",
        "past += transaction.listed(known.order_id, claims)",
        "pass",
        _T_EGRESS + "what_is_past_its_dot_is_listed_once_and_remembers_the_rule[pipelined]",
    ),
    Mutation(
        "past_dot: part of the effect",
        _ORDERS,
        "past_dot = () if order.removed else",
        "past_dot = () if True else",
        _T_ORDERS + "past_dot_is_fixed_and_quiet_once_all_of_it_is_settled",
    ),
    Mutation(
        "past_dot: fixed",
        "mta/orders/effects.py",
        "if e.id in fixed)",
        "if fixed)",
        _T_ORDERS + "past_dot_is_fixed_and_quiet_once_all_of_it_is_settled",
    ),
)

RULE_EVENTS = (
    Mutation(
        "events of the rule table: in the step that changes a rule",
        _RULES_LUA,
        "  append_framed(P, change_event(generation, unpack(argv, 12, 14)))\n",
        "",
        _T_STORE + "what_an_order_does_is_told_in_the_steps_that_do_it[plain]",
    ),
    Mutation(
        "events of the rule table: an effect once",
        _RULES_LUA,
        "  if known and tonumber(string.match(known, '^(%d+)|')) >= tonumber(generation) then\n    return 0\n  end\n",
        "",
        _T_STORE + "what_an_order_does_is_told_in_the_steps_that_do_it[plain]",
    ),
    Mutation(
        "events of the rule table: the end of a sweep once",
        _RULES_LUA,
        "  if argv[5] ~= '' and redis.call('HGET', keys[4], argv[1]) ~= argv[6] then\n",
        "  if argv[5] ~= '' then\n",
        _T_STORE + "what_an_order_does_is_told_in_the_steps_that_do_it[plain]",
    ),
    Mutation(
        "events of the rule table: a sweep that is done is told",
        "mta/sweeps/sweeper.py",
        "        if sweep.phase == SweepPhase.DONE:\n            completed",
        "        if False:\n            completed",
        _T_SWEEPER + "last_pass_begins_only_when_the_rule_is_effective",
    ),
    Mutation(
        "events of the rule table: nothing is copied that nobody has counted",
        "mta/journal/rule_log.py",
        "if order_of(entry.id) <= order_of(last)]",
        "if last]",
        "tests/unit/journal/test_rule_log.py::test_what_nobody_has_counted_yet_is_not_copied",
    ),
    Mutation(
        "events of the rule table: entries that others have still to copy stay",
        "mta/redis_store/outbox.py",
        "        if lane == RULES_LANE:\n",
        "        if False:\n",
        _T_STORE + "what_others_have_still_to_copy_of_the_rule_tables_lane_stays[plain]",
    ),
)

BARRIER = (
    Mutation(
        "the barrier: raised before an order is effective",
        _ORDERS,
        "        if not order.barrier_at:\n",
        "        if False:\n",
        _T_ORDERS + "an_order_is_effective_no_sooner_than_every_lane_has_its_barrier",
    ),
    Mutation(
        "the barrier: a new rule needs it too",
        _ORDERS,
        "        if not order.barrier_at:\n",
        "        if not order.barrier_at and not order.created:\n",
        _T_ORDERS + "barrier_is_raised_before_an_order_is_effective",
    ),
    Mutation(
        "the barrier: an edit lifts what the rule was",
        _ORDERS,
        "        if not order.barrier_at:\n",
        "        if not order.barrier_at and (order.created or order.removed):\n",
        _T_HISTORY + "an_edit_that_the_store_holds_up_is_not_effective_before_its_barrier",
    ),
    Mutation(
        "the barrier: a removal lifts",
        _ORDERS,
        "        if not order.barrier_at:\n",
        "        if not order.barrier_at and not order.removed:\n",
        _T_ORDERS + "a_lifting_that_time_decides_has_its_barrier_raised_before_and_keeps_its_word",
    ),
    Mutation(
        "the barrier: no order is effective before it, whoever decides by an older table",
        _ORDERS,
        "            await self._raise_barrier(order)\n",
        "            order.barrier_at = 1\n",
        _T_HISTORY + "a_process_that_only_accepts_and_stood_still_decides_nothing_by_its_old_table",
    ),
    Mutation(
        "the barrier: every lane's is raised",
        "mta/redis_store/rule_store.py",
        "await each_lane(range(self._lanes), raise_in)",
        "await each_lane(range(1, self._lanes), raise_in)",
        _T_QUEUES + "decisions_below_the_barrier_do_nothing[plain]",
    ),
    Mutation(
        "the barrier: it holds against settlements",
        "mta/redis_store/steps/settle.lua",
        "elseif kind[GENERATION] >= 0 and kind[GENERATION] < barrier then",
        "elseif false then",
        _T_QUEUES + "decisions_below_the_barrier_do_nothing[plain]",
    ),
    Mutation(
        "the barrier: it holds against sweeps",
        "mta/redis_store/steps/sweep.lua",
        "  if generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then\n    return -1\n  end\n",
        "",
        _T_STORE + "a_sweep_sees_the_queue_and_ends_what_is_still_there[plain]",
    ),
)

_DECIDE = "            pool, domain = waiting.queue\n"


def _skip(state: str, condition: str) -> Mutation:
    return Mutation(
        f"the sweep: {state}",
        "mta/sweeps/sweep_moves.py",
        _DECIDE,
        f"            if {condition}:\n                continue\n{_DECIDE}",
        _T_SWEEPER + f"a_delivery_in_each_state_is_swept[{state}]",
    )


SWEEP_OF_ONE_STATE_EACH = (
    _skip("due", "waiting.due_at <= now and not waiting.record.attempts"),
    _skip("scheduled", "waiting.due_at > now and not waiting.record.attempts"),
    _skip("deferred", "waiting.record.attempts"),
    _skip("held", "pause"),
    Mutation(
        "the sweep: held, walked at all",
        "mta/sweeps/sweeper.py",
        "held = await self._store.pauses(lane)",
        "held: list[str] = []",
        _T_SWEEPER + "a_delivery_in_each_state_is_swept[held]",
    ),
    Mutation(
        "the sweep: scheduled, seen in the store",
        "mta/redis_store/steps/sweep.lua",
        "local page = redis.call('ZSCAN', keys[2], argv[1], 'COUNT', argv[2])",
        "local page = { '0', redis.call('ZRANGE', keys[2], '-inf', now_ms(), 'BYSCORE', 'WITHSCORES') }",
        _T_STORE + "a_sweep_sees_what_is_due_scheduled_and_deferred[plain]",
    ),
    Mutation(
        "the sweep: claimed, put back while the rule ends such mail",
        "mta/scheduling/settler.py",
        "            outcome = self._met_on_return(claimed, outcome)\n",
        "            pass\n",
        _T_SETTLER + "what_would_be_put_back_is_intercepted_when_a_rule_ends_it",
    ),
    Mutation(
        "the sweep: claimed, put back by an old table",
        "mta/scheduling/settler.py",
        "            decided.generation = self._rules.table.head.generation\n",
        "            pass\n",
        _T_SETTLER + "what_an_old_table_lets_back_is_decided_again",
    ),
    Mutation(
        "the sweep: its last pass begins after the rule is effective",
        "mta/sweeps/owned.py",
        "self.last_pass = self.effective_at > 0",
        "self.last_pass = True",
        _T_SWEEPER + "last_pass_begins_only_when_the_rule_is_effective",
    ),
)

STAGED_RELEASE = (
    Mutation(
        "a staged release: a round that is closed lets nothing go",
        "mta/redis_store/steps/sweep.lua",
        "return (at > round or closed) and 0 or share - n, tonumber(n)",
        "return share - n, tonumber(n)",
        "tests/integration/redis_store/test_release_store.py::test_a_round_lets_no_more_go_than_its_share",
    ),
    Mutation(
        "a staged release: no step exceeds the share",
        "mta/redis_store/steps/sweep.lua",
        "found[at] == raws[i] and moved < room then",
        "found[at] == raws[i] then",
        "tests/integration/redis_store/test_release_store.py::test_a_round_lets_no_more_go_than_its_share",
    ),
    Mutation(
        "a staged release: the pause does not hold again what it let go",
        "mta/policy/rule_index.py",
        "    if rule.kind is Kind.PAUSE and pass_mark(passing(rule)) in labels:\n        return False\n",
        "",
        "tests/unit/policy/test_rule_table.py::test_a_pause_does_not_match_mail_that_it_let_go",
    ),
)

FAILOVER = (
    Mutation(
        "a head that went back: it is noticed",
        _GUARD,
        "            if loss is None:\n",
        "            if True:\n",
        _T_GUARD + "head_that_went_back_keeps_the_union_and_puts_lost_rules_again",
    ),
    Mutation(
        "a head that went back: both tables are in force",
        _GUARD,
        "for rule in (*ours.rules(), *stored, *loss.lost)}",
        "for rule in stored}",
        _T_GUARD + "head_that_went_back_keeps_the_union_and_puts_lost_rules_again",
    ),
    Mutation(
        "a head that went back: the alarm",
        _GUARD,
        'log.error("the rule table went back',
        'log.debug("the rule table went back',
        _T_GUARD + "head_that_went_back_keeps_the_union_and_puts_lost_rules_again",
    ),
    Mutation(
        "a head that went back: rules that a slow process knows are not put again",
        "mta/rules/failover.py",
        "is_lost = rule.generation > max(fork, trail.regained)",
        "is_lost = rule.generation > fork",
        "tests/unit/rules/test_failover.py::test_a_slow_process_puts_nothing_again_that_one_that_knew_more_did_not",
    ),
    Mutation(
        "a head that went back: no lost number is used again",
        "mta/redis_store/steps/rules_regain.lua",
        "math.max(head_of(P), lost)",
        "head_of(P)",
        "tests/integration/test_failover.py::test_nothing_that_a_promoted_replica_did_not_get_is_lost",
    ),
)

CLAIMED_AS_ACCEPTED = (
    Mutation(
        "claimed as accepted: the permit (MAIL)",
        "mta/scheduling/dispatcher.py",
        "queue in self._room or not self._rules.may_send_mail() or queue.pool",
        "queue in self._room or queue.pool",
        _T_DISPATCHER + "what_intake_accepts_is_left_to_the_queue_without_permit_pool_connection_or_turn",
    ),
    Mutation(
        "claimed as accepted: the rules",
        "mta/scheduling/dispatcher.py",
        "            self._hand_over(queue, claimed)\n\n    def _free",
        "            self._deliver.deliver(claimed)\n\n    def _free",
        _T_DISPATCHER + "rules_meet_what_was_claimed_as_it_was_accepted",
    ),
    Mutation(
        "claimed as accepted: older mail first",
        "mta/redis_store/steps/accept.lua",
        "    if older > 0 and take > 0 and redis.call(",
        "    if false and redis.call(",
        _T_FRESH + "nothing_overtakes_older_mail_that_is_due[plain]",
    ),
    Mutation(
        "claimed as accepted: a lost answer",
        "mta/redis_store/steps/accept.lua",
        "  give_back(P, keys[3], unseen, false, tonumber(argv[3]))\n  return 'RAN'",
        "  return 'RAN'",
        _T_FRESH + "an_accept_that_ran_without_an_answer_gives_back_what_it_claimed[plain]",
    ),
    Mutation(
        "claimed as accepted: a number once voided stays so",
        "mta/redis_store/steps/accept.lua",
        "  if number > done then\n",
        "  if number ~= done then\n",
        _T_FRESH + "a_void_of_an_earlier_number_opens_the_door_to_no_later_one[plain]",
    ),
    Mutation(
        "contents beside the step: a refusal takes them out",
        "mta/redis_store/steps/accept.lua",
        "    drop_contents(P, records, owners)\n",
        "",
        _T_CONTENTS + "what_was_voided_leaves_no_content[plain]",
    ),
    Mutation(
        "contents beside the step: a living message keeps its own",
        "mta/redis_store/steps/accept.lua",
        "    if not needed then\n",
        "    if true then\n",
        _T_CONTENTS + "old_rules_leave_no_content_and_a_late_copy_takes_none[plain]",
    ),
    Mutation(
        "contents beside the step: whichever recipient lives",
        "mta/redis_store/steps/accept.lua",
        "    while not needed and number <= many do",
        "    while not needed and number <= 1 do",
        _T_CONTENTS + "the_only_delivery_left_of_several_may_be_any[plain]",
    ),
    Mutation(
        "contents beside the step: an error within the transaction",
        "mta/redis_store/step_connections.py",
        "    for one in (*queued, *(done if isinstance(done, list) else [done])):",
        "    for one in queued:",
        _T_CONTENTS + "a_server_without_the_library_gets_it_and_has_the_batch_once[plain]",
    ),
    Mutation(
        "claimed as accepted: another session's",
        "mta/redis_store/queues.py",
        "taken if ours else ()",
        "taken",
        _T_FRESH + "what_was_claimed_for_a_session_that_was_given_up_meanwhile_is_others[plain]",
    ),
    Mutation(
        "claimed as accepted: without a reply",
        "mta/redis_store/queues.py",
        "            if any(taken):\n",
        "            if False:\n",
        _T_FRESH + "claims_of_an_accept_that_may_not_be_told_go_back[plain]",
    ),
    Mutation(
        "claimed as accepted: each reservation ends",
        "mta/admission/group_commit.py",
        "                    hand_over(delivery, reserved, claimed or _NO_CLAIMS)\n",
        "                    if claimed is not None:\n                        hand_over(delivery, reserved, claimed)\n",
        "tests/unit/admission/test_group_commit.py::test_each_reservation_ends_whatever_the_store_says",
    ),
)

BUILDS = (
    Mutation(
        "builds: an unknown selector is an error",
        "mta/model/rules.py",
        "class Selectors(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):",
        "class Selectors(msgspec.Struct, frozen=True, omit_defaults=True):",
        _T_FORMATS + "a_rule_with_an_unknown_field_is_not_read_as_a_wider_one[plain]",
    ),
    Mutation(
        "builds: a table that cannot be read whole is not taken",
        "mta/redis_store/rule_store.py",
        "        for error in unreadable.values():\n            raise error\n        return head, rules\n",
        "        return head, rules\n",
        _T_FORMATS + "a_rule_with_an_unknown_field_is_not_read_as_a_wider_one[plain]",
    ),
    Mutation(
        "builds: a process that cannot read keeps the head that it confirmed",
        _RULES_LUA,
        "    generation, change, dead, confirmed_at = state[1], state[2], state[4], state[5]",
        "    generation, change, dead, confirmed_at = head_of(P), state[2], state[4], state[5]",
        _T_FORMATS + "a_process_that_cannot_read_lives_under_the_head_that_it_confirmed[plain]",
    ),
    Mutation(
        "builds: a process that cannot read tells that it lives",
        _GUARD,
        "            await self._object(error)\n            raise\n",
        "            raise\n",
        _T_GUARD + "k15_a_rule_that_cannot_be_read_lets_the_permit_run_out_and_the_session_live",
    ),
    Mutation(
        "builds: no rule that a living session cannot read",
        "mta/redis_store/rule_store.py",
        "        if old:\n",
        "        if False:\n",
        _T_FORMATS + "a_rule_that_an_older_process_cannot_read_is_refused_by_name[plain]",
    ),
    Mutation(
        "builds: no library is replaced",
        "mta/redis_store/link.py",
        'await self._command_at(master, "FUNCTION LOAD", library.CODE',
        'await self._command_at(master, "FUNCTION LOAD", "REPLACE", library.CODE',
        "tests/integration/redis_store/test_libraries.py::test_k15_a_library_that_is_there_is_left_as_it_is[plain]",
    ),
)

# The walkers of an order must see every share of a queue.
SHARES = (
    Mutation(
        "shares: a pool names the shares that have mail",
        "mta/redis_store/steps/00_common.lua",
        "    redis.call('SADD', P .. 'shares:' .. pool, share)\n",
        "",
        _T_SHARES + "a_message_is_queued_claimed_retried_and_delivered_in_its_share[plain-acme]",
    ),
    Mutation(
        "shares: a sweep walks over them",
        "mta/redis_store/sweep_store.py",
        'for share in ("", *(name.decode() for name in shares)):',
        'for share in ("",):',
        _T_SHARES + "shares_of_one_queue_are_claimed_apart_and_a_plain_message_is_as_ever[plain]",
    ),
    Mutation(
        "shares: a settlement names the claim's",
        "mta/redis_store/steps/settle.py",
        "{place_of(pool, share)}|{domain}",
        "{pool}|{domain}",
        _T_SHARES + "a_message_is_queued_claimed_retried_and_delivered_in_its_share[plain-acme]",
    ),
    Mutation(
        "shares: a cancellation looks into them",
        "mta/redis_store/steps/messages.lua",
        "places[#places + 1] = pool .. '~' .. argv[i]",
        "places[#places + 1] = pool",
        _T_SHARES + "a_message_of_a_share_is_found_and_canceled[plain-due-.2]",
    ),
    Mutation(
        "shares: one that waits saves up no turns",
        "mta/scheduling/lane_view.py",
        "            self._turns.first(lines)  #",
        "            pass  #",
        "tests/unit/scheduling/test_lane_view_shares.py::test_a_share_that_waits_for_its_time_saves_up_no_turns",
    ),
)

BOUNDS = (
    Mutation(
        "bounds: a hold wins over pauses",
        "mta/policy/rule_table.py",
        "return (_COUNTS, False, 0, False, -rule.generation, rule.id)",
        "return (_HOLDS, False, 0, False, -rule.generation, rule.id)",
        _T_BOUNDS + "a_hold_wins_over_pauses_the_older_hold_over_the_newer_and_an_end_over_all",
    ),
    Mutation(
        "bounds: the older hold wins",
        "mta/policy/rule_table.py",
        "False, -rule.generation, rule.id)",
        "False, rule.generation, rule.id)",
        _T_BOUNDS + "a_hold_wins_over_pauses_the_older_hold_over_the_newer_and_an_end_over_all",
    ),
    Mutation(
        "bounds: only the hold that was counted is decided",
        "mta/policy/bounded_orders.py",
        " or hold.generation != generation",
        "",
        _T_BOUNDS + "only_the_hold_that_was_counted_is_decided[passed]",
    ),
    Mutation(
        "bounds: a hold takes mail from pauses",
        "mta/sweeps/sweep_moves.py",
        "elif stays and not (by is not None and by.takes and by.rule != pause):",
        "elif stays:",
        "tests/unit/sweeps/test_sweep_moves.py::"
        "test_the_hold_of_an_order_with_a_bound_takes_mail_from_pauses_and_no_pause_takes_it_back",
    ),
    Mutation(
        "bounds: its sweep looks at the mail of pauses",
        "mta/sweeps/sweeper.py",
        "if any(ends(rule) or is_counting(rule) for",
        "if any(ends(rule) for",
        _T_SWEEPER + "the_hold_of_an_order_with_a_bound_sweeps_what_pauses_hold",
    ),
    Mutation(
        "bounds: as many as allowed pass",
        _BOUNDED,
        "if matched > hold.bound.max_matches:",
        "if matched >= hold.bound.max_matches:",
        _T_BOUNDED + "a_hold_is_decided_when_its_sweep_is_done_and_not_before",
    ),
    Mutation(
        "bounds: a delivery of a worker counts",
        _BOUNDED,
        '.get("held", 0) + on_its_way',
        '.get("held", 0)',
        _T_BOUNDED + "deliveries_of_workers_are_waited_for_and_then_counted",
    ),
    Mutation(
        "bounds: a refused hold is cleared before the next is decided",
        _BOUNDED,
        "if not swept or not cleared or",
        "if not swept or",
        _T_BOUNDED + "a_newer_hold_waits_for_the_older_and_for_the_mail_that_this_releases",
    ),
    Mutation(
        "bounds: a refused hold stays until it holds nothing",
        _BOUNDED,
        "            if hold.id in await self._sweeps.pauses(lane):\n                return False\n",
        "            await self._sweeps.pauses(lane)\n",
        _T_BOUNDED + "a_refused_hold_is_removed_once_it_holds_nothing",
    ),
)

MOVES = (
    Mutation(
        "moves: the barrier refuses an old table",
        "mta/redis_store/steps/queue_work.lua",
        "  if generation < tonumber(redis.call('HGET', keys[1], 'barrier') or 0) then\n",
        "  if false then\n",
        _T_MOVES + "a_move_decided_by_a_table_below_the_barrier_is_decided_again[plain]",
    ),
    Mutation(
        "moves: mail of a rule stays for its sweep",
        "mta/orders/queue_work.py",
        "return any(rule is not None and swept(rule) and (not pause or",
        "return any(False and swept(rule) and (not pause or",
        _T_MOVES + "o12_mail_that_a_rule_decides_about_stays_for_its_sweep[plain-ends_there]",
    ),
    Mutation(
        "moves: a claimed delivery is its worker's",
        "mta/redis_store/steps/queue_work.lua",
        "scores[i] and found[i] == raws[i] and tonumber(scores[i])",
        "found[i] == raws[i] and tonumber(scores[i] or 1)",
        _T_MOVES + "a_delivery_that_was_claimed_since_it_was_read_is_left_to_its_worker[plain]",
    ),
)

MUTATIONS = (
    *PERMIT, *LOOKS, *CONFIRMATION, *DEATH, *PAST_DOT, *RULE_EVENTS, *BARRIER, *FAILOVER, *SWEEP_OF_ONE_STATE_EACH,
    *CLAIMED_AS_ACCEPTED, *BUILDS, *SHARES, *BOUNDS, *MOVES, *HISTORY, *TOKENS, *PREVIEWS, *SELECTORS, *AUDIT, *WORK,
    *CANARIES, *BULK, *STAGED_RELEASE, *ROUTES, *POOLS, *SITES, *BRAKES, *LIMITS, *CLIENT, *SCHEDULED, *TEMPLATES,
    *KEYS, *CALLS, *WEBHOOKS,
)  # fmt: skip
