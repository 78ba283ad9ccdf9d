"""Damages of the pools of the cluster, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_SENDING_IPS = "mta/egress/sending_ips.py"
_T_IPS = "tests/unit/egress/test_targets.py::test_"
_T_POOLS = "tests/scenarios/s46_pools/test_pools.py::test_"
_T_WARM = "tests/scenarios/s46_pools/test_warm_up.py::test_"
_T_WARM_STORE = "tests/integration/redis_store/test_warm_up_store.py::test_"

POOLS = (
    Mutation(
        "pools: mail of a pool that left goes by no other address",
        _SENDING_IPS,
        'return None if pool in self._gone else Source("", self._default_ehlo)',
        'return Source("", self._default_ehlo)',
        _T_IPS + "ips_are_chosen_from_the_pools_that_are_in_force_now",
    ),
    Mutation(
        "pools: connections of a pool that changed end",
        "mta/egress/egress.py",
        "                outlet.retire(lambda path: True)\n\n    def on_change",
        "\n    def on_change",
        _T_POOLS + "an_ip_that_leaves_hands_its_work_on_and_no_message_is_lost_or_doubled",
    ),
    Mutation(
        "pools: claimed mail of a pool that left goes back",
        "mta/egress/egress.py",
        "                if not self._ips.serves(queue.pool):\n                    outlet.return_waiting",
        "                if False:\n                    outlet.return_waiting",
        _T_POOLS + "mail_that_was_claimed_for_a_pool_goes_back_when_the_pool_leaves",
    ),
    Mutation(
        "pools: a change is made as its author saw the pools",
        "mta/redis_store/steps/pools.lua",
        "  if version ~= seen then\n",
        "  if false then\n",
        "tests/integration/redis_store/test_pool_store.py::test_of_two_changes_that_saw_the_same_pools_one_is_made",
    ),
    Mutation(
        "pools: a pool of the cluster without IPs waits",
        "mta/policy/pools.py",
        "return bool(pool.ips) or not isinstance(pool, SharedPool)",
        "return True",
        "tests/unit/policy/test_pools.py::test_the_system_chooses_for_pools_of_a_file_only",
    ),
    Mutation(
        "warm-up: the number of a day is that of all processes",
        "mta/redis_store/steps/warm_ups.lua",
        "math.min(wanted, messages - taken)",
        "math.min(wanted, messages)",
        _T_WARM_STORE + "a_day_is_handed_out_once_and_counts_if_a_message_began",
    ),
    Mutation(
        "warm-up: a day without mail does not count",
        "mta/redis_store/steps/warm_ups.lua",
        "day + (sent > 0 and day <= days and 1 or 0)",
        "day + (day <= days and 1 or 0)",
        _T_WARM_STORE + "a_day_is_handed_out_once_and_counts_if_a_message_began",
    ),
    Mutation(
        "warm-up: each message of a connection is counted",
        "mta/egress/transaction_start.py",
        "elif connection.slot.warms and self._warm_ups",
        "elif False and self._warm_ups",
        _T_WARM + "an_ip_sends_the_number_of_each_day_and_is_warm_after_the_last",
    ),
)
