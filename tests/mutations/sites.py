"""Damages of sites and limits, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_LUA = "mta/redis_store/steps/limits.lua"
_LIMITS = "mta/scheduling/limits.py"
_SLOTS = "mta/egress/slots.py"
_T_STORE = "tests/integration/redis_store/test_limit_store.py::test_"
_T_LIMITS = "tests/unit/scheduling/test_limits.py::test_"
_T_SLOTS = "tests/unit/egress/test_slots.py::test_"
_T_TABLE = "tests/unit/policy/test_rule_table.py::test_"
_T_SWEEPER = "tests/unit/sweeps/test_sweeper.py::test_"

SITES = (
    Mutation(
        "limits: no process gets slots that others hold",
        _LUA,
        "granted[i] = math.max(least, math.min(wanted, limit - others))",
        "granted[i] = math.max(least, math.min(wanted, limit))",
        _T_STORE + "slots_are_never_more_than_the_limit_in_all[plain]",
    ),
    Mutation(
        "limits: slots of every scope or of none",
        _LUA,
        "local held = binds == 0 and granted[i] or kept[i]",
        "local held = granted[i]",
        _T_STORE + "every_scope_gives_a_slot_or_none_does_and_the_one_that_binds_is_told[plain]",
    ),
    Mutation(
        "limits: an instant is given once",
        _LUA,
        "local free = first + many * tonumber(argv[i + 2])",
        "local free = first",
        _T_STORE + "instants_are_given_once_and_at_most_a_second_ahead[plain]",
    ),
    Mutation(
        "limits: an instant counts in every scope",
        _LUA,
        "    if free > first and free <= now + interval + 61000 then\n      first, binds = free, i\n",
        "    if i > 1 and free > first and free <= now + interval + 61000 then\n      first, binds = free, i\n",
        _T_STORE + "instants_of_several_scopes_are_given_together[plain]",
    ),
    Mutation(
        "limits: slots of a dead session are free",
        "mta/redis_store/limit_store.py",
        '"HDEL", keys.slots_key(name), session',
        '"HDEL", keys.slots_key(name), ""',
        _T_STORE + "k16_slots_of_a_dead_session_are_freed_whatever_the_names_hold[plain-big-ip:2001:db8::1]",
    ),
    Mutation(
        "limits: a slot that was used comes back",
        _LIMITS,
        "            self._used[scope] -= 1\n",
        "            pass\n",
        _T_LIMITS + "slots_are_never_exceeded_and_come_back",
    ),
    Mutation(
        "limits: no slot stays with a connection that its rate forbids",
        _LIMITS,
        "                self.give_connection(share)\n                return wait\n",
        "                return wait\n",
        _T_LIMITS + "a_connection_that_its_rate_forbids_keeps_no_slot",
    ),
    Mutation(
        "slots: given back once",
        _SLOTS,
        "share, slot.share = slot.share, None",
        "share = slot.share",
        _T_SLOTS + "a_slot_is_given_back_once",
    ),
    Mutation(
        "slots: a host of another site gives the first back",
        _SLOTS,
        "        self.give(slot)\n        try:\n",
        "        try:\n",
        _T_SLOTS + "a_host_of_another_site_or_family_takes_a_slot_of_its_own_and_gives_the_first_back",
    ),
    Mutation(
        "shaping: a sending IP has a budget of its own",
        "mta/policy/shaping.py",
        "found = (*found, own) if any(own[2:6]) else found",
        "found = (*found, own) if False else found",
        "tests/unit/policy/test_shaping.py::test_mail_needs_a_share_of_each_budget_of_its_path",
    ),
    Mutation(
        "rules by site: a worker that forgot the site asks its outlet",
        "mta/policy/rule_table.py",
        "site = self._sites(domain) or site",
        "site = self._sites(domain)",
        _T_TABLE + "the_site_is_asked_for_only_while_a_rule_asks_and_an_unknown_one_matches_nothing",
    ),
    Mutation(
        "rules by site: a sweep finds the sites out",
        "mta/sweeps/sweeper.py",
        "        await self._find_sites(page)\n",
        "",
        _T_SWEEPER + "a_sweep_by_site_finds_the_sites_out_and_leaves_what_it_cannot_to_the_attempt",
    ),
    Mutation(
        "shared connections: mail that went back leaves nothing in the line",
        "mta/egress/connection_opener.py",
        "                self._share.leave()\n            self._owner.no_slot()\n",
        "                pass\n            self._owner.no_slot()\n",
        "tests/unit/egress/test_shared_connections.py::test_mail_that_went_back_for_want_of_a_slot_leaves_nothing_in_the_"
        "line_for_connections",
    ),
)
