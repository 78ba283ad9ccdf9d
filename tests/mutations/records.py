"""Damages to history, tokens, previews, selectors, the audit, work on queues, canaries and sets of rules."""

from tests.mutations.mutation import Mutation

_SQLITE = "mta/history/sqlite_writer.py"
_FEED = "mta/journal/history_feed.py"
_FOLDING_LUA = "mta/redis_store/steps/folding.lua"
_GATE = "control_api/access/gate.py"
_ACCESS = "control_api/access/tokens.py"
_RULE_TENANCY = "control_api/rules/tenancy.py"
_PREVIEWS_LUA = "mta/redis_store/steps/previews.lua"
_INDEX = "mta/policy/rule_index.py"
_RULE_EVENTS = "mta/model/rule_events.py"
_QUEUE_WORK = "mta/orders/queue_work.py"
_QUEUE_WORK_LUA = "mta/redis_store/steps/queue_work.lua"
_CANARY = "mta/orders/canary.py"
_SET_LUA = "mta/redis_store/steps/rules_set.lua"
_SETS = "mta/redis_store/rule_sets.py"

_T_FILES = "tests/unit/history/test_files.py::test_"
_T_FEED = "tests/unit/journal/test_history_feed.py::test_"
_T_FOLDING = "tests/integration/test_folding.py::test_"
_T_RIGHTS = "tests/unit/control_api/access/test_rights.py::test_a4_"
_T_TOKENS = "tests/unit/control_api/access/test_tokens.py::test_"
_T_RULE_TENANCY = "tests/unit/control_api/rules/test_tenancy.py::test_a4_"
_T_BOUNDS = "tests/unit/control_api/rules/test_bounds.py::test_"
_T_PREVIEWS = "tests/integration/redis_store/test_previews.py::test_"
_T_TALLY = "tests/unit/sweeps/test_preview_tally.py::test_"
_T_TABLE = "tests/unit/policy/test_rule_table.py::test_"
_T_RULE_EVENTS = "tests/unit/model/test_rule_events.py::test_"
_T_WORK = "tests/integration/redis_store/test_queue_work.py::test_o12_"
_T_PARKED = "tests/integration/redis_store/test_parked.py::test_"
_T_CANARY = "tests/unit/orders/test_canary.py::test_"
_T_CANARIES = "tests/integration/redis_store/test_canaries.py::test_"
_T_SETS = "tests/integration/redis_store/test_rule_sets.py::test_"

_NOTE_TOKEN = (
    '    await deps.audit.note(actor, Deed("token.create", token.id, after=_shown(token, now), tenant=token.tenant))\n'
)
_PUT_TOKEN = "    await deps.tokens.put(token, secret.digest)\n"

_STORY = _T_FILES + "a_story_of_every_database"

HISTORY = (
    Mutation(
        "history: a lane's position moves from where the round begins",
        _SQLITE,
        'source = ? AND position = ?", (last, source, after)',
        'source = ? AND position <> ?", (last, source, "")',
        _STORY + "[entries_count_once_whoever_writes_them]",
    ),
    Mutation(
        "history: a round that was interrupted is removed first",
        _SQLITE,
        "        self._undo_interrupted(connection, new)\n",
        "",
        _T_FILES + "a_round_that_was_interrupted_before_the_control_file_is_written_again[False]",
    ),
    Mutation(
        "history: the newer change of a delivery wins",
        _SQLITE,
        " last = CASE WHEN column2 >= rank THEN column4 ELSE last END",
        " last = CASE WHEN column2 >= 0 THEN column4 ELSE last END",
        _STORY + "[a_delivery_is_told_over_rounds_and_days]",
    ),
    Mutation(
        "history: a day with living mail stays",
        _SQLITE,
        " and not self._day(day).execute(live).fetchall()",
        " and self._day(day)",
        _T_FILES + "an_old_day_is_dropped_unless_mail_of_it_lives",
    ),
    Mutation(
        "history: an event that changes nothing is no acceptance",
        "mta/journal/gathering.py",
        "recipient, event.type is _RECEPTION)",
        "recipient, event.seq == 1)",
        _STORY + "[a_delivery_is_told_over_rounds_and_days]",
    ),
    Mutation(
        "history: a rest ends before the spool is full",
        "mta/journal/sweep_rest.py",
        " or self._spool.is_full(_FULL)",
        "",
        "tests/unit/journal/test_sweep_rest.py::test_it_ends_where_a_quarter_of_the_spool_is_full",
    ),
    Mutation(
        "history: an erasure waits for the spool",
        "mta/journal/erasures.py",
        "                if self._marks[erasure.id]():\n",
        "                if self._marks[erasure.id]:\n",
        "tests/unit/journal/test_erasures.py::test_it_waits_until_history_has_what_the_spool_held_at_the_order",
    ),
    Mutation(
        "history: an entry counts once",
        "mta/journal/gathering.py",
        "        if order_of(entry.id) <= order_of(after):\n            return False\n",
        "",
        _STORY + "[entries_count_once_whoever_writes_them]",
    ),
    Mutation(
        "history: the newest change of a round says how a delivery stands",
        "mta/journal/gathering.py",
        "        elif rank > row.rank:\n",
        "        elif rank < row.rank:\n",
        _T_FILES + "a_round_that_was_interrupted_before_the_control_file_is_written_again[False]",
    ),
    Mutation(
        "gaps: a lane waits for the journal that has its events",
        _FEED,
        "        if self._writer.alone:\n",
        "        if True:\n",
        _T_FEED + "a_lane_from_another_journal_waits_for_the_events_that_only_that_one_has",
    ),
    Mutation(
        "gaps: events that were given up leave a Gap",
        _FEED,
        "            self._skip(source, last, after)\n\n    def close",
        "            self._gathering.skip(source, after)\n\n    def close",
        _T_FEED + "these_events_are_given_up_by_order_or_at_once_where_nobody_else_writes",
    ),
    Mutation(
        "gaps: events that the spool let go leave a Gap",
        _FEED,
        '        self._gap(\n            f"gap.history.spool.',
        '        (lambda *gap: None)(\n            f"gap.history.spool.',
        _T_FEED + "a_spool_that_history_alone_fills_lets_go_of_its_oldest_events_and_history_shows_a_gap",
    ),
    Mutation(
        "folding: the store drops counters that history has",
        "mta/journal/folding.py",
        "on_thread(lambda: archive.keep(found))",
        "on_thread(lambda: archive.keep(()))",
        _T_FOLDING + "a_day_of_tags_of_one_message_each_leaves_the_store_as_it_was[plain]",
    ),
    Mutation(
        "folding: counters that changed stay",
        _FOLDING_LUA,
        "    if same and #now == #fields then\n",
        "    if true then\n",
        _T_FOLDING + "counters_that_stand_in_both_places_count_once_and_those_that_changed_stay[plain]",
    ),
    Mutation(
        "folding: counters of living mail stay",
        _FOLDING_LUA,
        "        rests = rests and tonumber(waiting[f] or 0) == 0\n",
        "",
        _T_FOLDING + "counters_of_tags_whose_mail_waits_stay[plain]",
    ),
    Mutation(
        "folding: counters in both places count once",
        "mta/redis_store/books.py",
        "            if (one.lane, one.epoch) not in there:\n",
        "            if True:\n",
        _T_FOLDING + "counters_that_stand_in_both_places_count_once_and_those_that_changed_stay[plain]",
    ),
)

TOKENS = (
    Mutation(
        "tokens: an operation needs its scope",
        _GATE,
        "        if not actor.may(operation.scope):\n",
        "        if not actor.scopes:\n",
        _T_TOKENS + "a4_a_scope_opens_its_operations_only",
    ),
    Mutation(
        "tokens: a bound one orders nothing for the whole cluster",
        _GATE,
        "        if actor.tenant and not operation.for_tenants:\n",
        "        if False:\n",
        _T_RIGHTS + "a_bound_token_passes_where_the_operation_knows_tenants",
    ),
    Mutation(
        "tokens: a route without a scope is nobody's",
        _GATE,
        '            raise Problem(403, "no token may use this resource")',
        "            return",
        _T_RIGHTS + "a_route_that_is_no_operation_is_nobodys",
    ),
    Mutation(
        "tokens: the digest of the text",
        _ACCESS,
        "        if not matches or token.has_expired(self._wall()):\n",
        "        if not token.id or token.has_expired(self._wall()):\n",
        _T_TOKENS + "a1_only_the_hash_of_the_whole_text_opens",
    ),
    Mutation(
        "tokens: the end",
        _ACCESS,
        "        if not matches or token.has_expired(self._wall()):\n",
        "        if not matches:\n",
        _T_TOKENS + "a3_an_expired_token_is_refused_as_any_other",
    ),
    Mutation(
        "tokens: a revoked one is remembered for a moment only",
        _ACCESS,
        "        if self._table is not None and self._read_at >= since:\n",
        "        if self._table is not None:\n",
        _T_TOKENS + "a3_a_revoked_token_ends_within_a_second",
    ),
    Mutation(
        "tokens: orders have a budget of their own",
        "control_api/access/rates.py",
        "now, key, rate = self._clock(), (token, use), self._of_use[use]",
        "now, key, rate = self._clock(), (token, Use.READ), self._of_use[use]",
        _T_TOKENS + "a6_reads_beyond_the_rate_are_429_and_leave_the_budget_of_orders",
    ),
    Mutation(
        "tenants: the waiting mail that a bound token selects",
        "control_api/queues/tenancy.py",
        "    return actor.tenant or asked\n",
        "    return asked\n",
        "tests/unit/control_api/queues/test_tenancy.py::test_a4_everything_means_all_of_the_tenant",
    ),
    Mutation(
        "tenants: the deliveries that a bound token lists",
        "control_api/history/selection.py",
        "    return actor.tenant\n",
        "    return asked\n",
        "tests/unit/control_api/history/test_tenants.py::test_a4_a_bound_actor_asks_for_its_own_mail_whatever_it_names",
    ),
    Mutation(
        "tenants: the mail that a rule of a bound token reaches",
        _RULE_TENANCY,
        "msgspec.structs.replace(selectors, tenant=actor.tenant)",
        "msgspec.structs.replace(selectors)",
        _T_RULE_TENANCY + "a_rule_of_a_bound_token_reaches_its_tenants_mail_only",
    ),
    Mutation(
        "tenants: another tenant's selector is refused",
        _RULE_TENANCY,
        "    if selectors.tenant not in (None, actor.tenant):\n",
        "    if False:\n",
        _T_RULE_TENANCY + "a_rule_of_a_bound_token_reaches_its_tenants_mail_only",
    ),
    Mutation(
        "tenants: the operator's rule stays the operator's",
        _RULE_TENANCY,
        "    if actor.tenant and rule.owner != actor.tenant:\n",
        "    if False:\n",
        _T_RULE_TENANCY + "a_bound_token_changes_its_own_rules_only",
    ),
    Mutation(
        "tenants: all mail of the cluster needs the scope admin",
        _RULE_TENANCY,
        "        if is_everything(selectors) and not actor.may(Scope.ADMIN):\n",
        "        if False:\n",
        _T_RULE_TENANCY + "a_rule_for_all_mail_needs_the_scope_admin",
    ),
    Mutation(
        "tenants: a rule that is another's is not named",
        _RULE_TENANCY,
        "    return found if other is None or sees(actor, other) else",
        "    return found if True else",
        _T_RULE_TENANCY + "a_rule_that_another_tenant_has_is_not_named",
    ),
)

PREVIEWS = (
    Mutation(
        "previews: one process counts",
        _PREVIEWS_LUA,
        "  if has and has ~= owner and",
        "  if false and",
        _T_PREVIEWS + "one_process_counts_a_preview_and_another_goes_on_after_its_lease[plain]",
    ),
    Mutation(
        "previews: so many may wait",
        _PREVIEWS_LUA,
        "  if redis.call('ZCARD', keys[1]) >= tonumber(most) then\n",
        "  if false then\n",
        _T_PREVIEWS + "previews_end_and_are_bounded[plain]",
    ),
    Mutation(
        "previews: a token is of the same selectors",
        "control_api/rules/bounds.py",
        "    if msgspec.structs.replace(preview.rule.selectors, **moved) != rule.selectors:\n",
        "    if False:\n",
        _T_BOUNDS + "a_token_is_of_a_counted_preview_with_the_same_selectors",
    ),
    Mutation(
        "previews: a token is of a preview that is counted",
        "control_api/rules/bounds.py",
        "    return preview.counted + preview.counted // _TOLERATED",
        "    return preview.counted * 2",
        _T_BOUNDS + "a_token_allows_the_count_of_its_preview_and_5_percent",
    ),
    Mutation(
        "bounds: the hold lets go of refused mail",
        "mta/policy/bounded_orders.py",
        "return msgspec.structs.replace(hold, enabled=False, bound=bound)\n\n\ndef in_place",
        "return msgspec.structs.replace(hold, bound=bound)\n\n\ndef in_place",
        "tests/unit/policy/test_bounded_orders.py::test_what_is_refused_or_replaced_lets_go_of_its_mail",
    ),
    Mutation(
        "bounds: a store that is away delays a decision",
        "mta/sweeps/bounded_orders.py",
        "            except (StoreError, OldReaders) as error:\n",
        "            except OldReaders as error:\n",
        "tests/unit/sweeps/test_bounded_orders.py::"
        "test_a_store_that_is_away_and_a_process_that_cannot_read_the_rule_delay_a_decision",
    ),
    Mutation(
        "bounds: only deliveries before their dot count",
        "mta/sweeps/bounded_orders.py",
        "found.difference(known.past_dot if known is not None else ())",
        "found",
        "tests/unit/sweeps/test_bounded_orders.py::test_deliveries_past_their_dot_are_not_counted",
    ),
)

SELECTORS = (
    Mutation(
        "selectors: mail that was accepted before",
        _INDEX,
        "when.accepted_at >= chosen.accepted_before:",
        "when.accepted_at > chosen.accepted_before:",
        _T_TABLE + "the_time_of_acceptance_is_from_one_instant_until_before_another",
    ),
    Mutation(
        "selectors: mail that was accepted after",
        _INDEX,
        "when.accepted_at < chosen.accepted_after:",
        "when.accepted_at <= chosen.accepted_after:",
        _T_TABLE + "the_time_of_acceptance_is_from_one_instant_until_before_another",
    ),
    Mutation(
        "selectors: the sender",
        _INDEX,
        "        found = (*found, sender_mark(chosen.sender))\n",
        "        pass\n",
        _T_TABLE + "table_agrees_with_a_naive_scan_however_it_was_made",
    ),
    Mutation(
        "selectors: each domain of a list",
        _INDEX,
        "for name in chosen.domains]",
        "for name in chosen.domains[:1]]",
        _T_TABLE + "a_rule_of_several_domains_stands_at_each_of_them",
    ),
    Mutation(
        "selectors: the times of a schedule",
        _INDEX,
        "return (not rule.expires_at and chosen.schedule is None) or is_on",
        "return not rule.expires_at or is_on",
        _T_TABLE + "a_pause_with_a_schedule_matches_at_its_times_only",
    ),
)

AUDIT = (
    Mutation(
        "audit: a denied order",
        _GATE,
        "                if problem.status == 403 and",
        "                if problem.status == 409 and",
        _T_TOKENS + "a12_an_order_that_is_denied_is_in_the_audit",
    ),
    Mutation(
        "audit: an order beside the rule table is noted before it is carried out",
        "control_api/tokens/resource.py",
        _NOTE_TOKEN + _PUT_TOKEN,
        _PUT_TOKEN + _NOTE_TOKEN,
        _T_TOKENS + "a12_an_order_that_cannot_be_noted_is_not_carried_out",
    ),
    Mutation(
        "audit: the author of a change",
        _RULE_EVENTS,
        '        "by": by.author,\n        "change"',
        '        "change"',
        _T_RULE_EVENTS + "a_change_says_what_it_is_and_who_ordered_it",
    ),
    Mutation(
        "audit: the event of a change is written by its step",
        "mta/redis_store/steps/rules_set.lua",
        "  append_framed(P, events)\n",
        "",
        _T_SETS + "a_set_is_made_in_parts_that_processes_follow[plain]",
    ),
)

WORK = (
    Mutation(
        "retry: mail that its sender scheduled keeps its time",
        _QUEUE_WORK,
        "one.due_at > now and one.record.scheduled_at <= now and not",
        "one.due_at > now and not",
        _T_WORK + "a_retry_keeps_the_time_that_a_sender_asked_for[plain]",
    ),
    Mutation(
        "retry: only mail that still waits for a later time",
        _QUEUE_WORK_LUA,
        "    if scores[i] and tonumber(scores[i]) > now then\n",
        "    if true then\n",
        "tests/integration/redis_store/test_queue_work.py::"
        "test_a_delivery_that_was_claimed_since_it_was_read_is_left_to_its_worker[plain]",
    ),
    Mutation(
        "retry: the agenda knows of it",
        _QUEUE_WORK_LUA,
        "    note_due(P, place, domain, now)\n",
        "",
        _T_WORK + "after_a_retry_the_agenda_has_the_queue_as_due_now[plain]",
    ),
    Mutation(
        "moves: long work goes on where it stopped",
        _QUEUE_WORK,
        "            if name < begins.name:\n",
        "            if name <= begins.name:\n",
        _T_WORK + "long_work_goes_on_where_it_stopped[plain]",
    ),
    Mutation(
        "moves: held mail stays held",
        _QUEUE_WORK_LUA,
        "    source, target, tail, members = P .. 'held:' .. pause, P .. 'held:' .. pause,",
        "    source, target, tail, members = P .. 'held:' .. pause, target,",
        _T_WORK + "held_mail_moves_and_stays_held_until_its_pause_is_lifted[plain]",
    ),
    Mutation(
        "moves: an event only for a delivery that moved",
        _QUEUE_WORK_LUA,
        "  append_framed(P, argv[2], stays)\n  return #left",
        "  append_framed(P, argv[2], {})\n  return #left",
        "tests/integration/redis_store/test_queue_work.py::test_only_deliveries_that_moved_leave_an_event[plain]",
    ),
    Mutation(
        "parked: released mail leaves the parked",
        "mta/redis_store/steps/parked.lua",
        "== raw and redis.call('ZREM', P .. 'parked', member) == 1 then",
        "== raw and redis.call('ZSCORE', P .. 'parked', member) then",
        _T_PARKED + "released_mail_is_due_at_once_and_counts_as_if_it_had_not_been_parked",
    ),
)

CANARIES = (
    Mutation(
        "canaries: each process is waited for",
        _CANARY,
        "        while not waits.emptied_at:\n",
        "        while False:\n",
        _T_CANARY + "a_canary_is_effective_once_each_process_has_confirmed_it_and_leaves_no_rule",
    ),
    Mutation(
        "canaries: the barrier of each lane is raised",
        _CANARY,
        "        await self._rules.raise_barrier(head.generation)\n",
        "",
        _T_CANARY + "a_canary_is_effective_once_each_process_has_confirmed_it_and_leaves_no_rule",
    ),
    Mutation(
        "canaries: one a period for the cluster",
        "mta/redis_store/canary_store.py",
        'node, "NX", "PX"',
        'node, "PX"',
        _T_CANARIES + "one_node_has_the_turn_of_a_period[plain]",
    ),
    Mutation(
        "canaries: a process that does not confirm is named",
        _CANARY,
        "for session in waits.waiting))",
        "for session in ()))",
        _T_CANARY + "a_process_that_does_not_confirm_is_named_in_the_log",
    ),
)

BULK = (
    Mutation(
        "sets: there is room for all or none",
        _SET_LUA,
        "  if tonumber(growth) > 0 and redis.call('HLEN', P .. 'table') + growth > tonumber(most) then\n",
        "  if false then\n",
        _T_SETS + "there_is_room_for_all_of_a_set_or_for_none[plain]",
    ),
    Mutation(
        "sets: a part is made of rules as they were seen",
        _SET_LUA,
        "    if not is_as_seen(P, argv[i + 1], argv[i + 2], argv[i + 4]) then\n",
        "    if false then\n",
        _T_SETS + "a_part_is_written_as_a_whole_or_not_at_all[plain]",
    ),
    Mutation(
        "sets: a part whose answer was lost is not made twice",
        _SETS,
        'again = partial(self._link.call_kept, b"rules_set_once", step_keys, args)',
        'again = partial(self._link.call_kept, b"rules_set", step_keys, args)',
        _T_SETS + "a_part_whose_answer_was_lost_is_not_made_twice[plain]",
    ),
    Mutation(
        "sets: a rule that is there keeps its id",
        "mta/redis_store/rule_records.py",
        "        id=known.id,\n        created_at=known.created_at,",
        "        created_at=known.created_at,",
        _T_SETS + "rules_that_are_there_are_replaced_and_keep_their_ids[plain]",
    ),
    Mutation(
        "sets: older processes get none",
        _SETS,
        "            await self._rules.must_be_read(rule)\n",
        "            pass\n",
        _T_SETS + "k15_a_set_is_not_given_to_processes_that_cannot_read_one[plain]",
    ),
)
