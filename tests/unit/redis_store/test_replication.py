"""How much of the old master's history a new one has."""

from mta.redis_store.replication import Failover, History, Replication

OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40


def history(replid: str, offset: int, earlier: str = NONE, earlier_end: int = -1) -> History:
    return History(replid, offset, earlier, earlier_end)


def looks(*steps: tuple[float, History]) -> list[Failover | None]:
    now = 0.0
    replication = Replication(lambda: now)
    found = []
    for at, seen in steps:
        now = at
        found.append(replication.look([seen]))
    return found


def test_what_the_old_master_was_seen_to_have_and_the_new_one_lacks() -> None:
    found = looks((1.0, history(OLD, 500)), (2.0, history(OLD, 900)), (4.5, history(NEW, 790, OLD, 701)))
    assert found == [None, None, Failover(200, 2.5)]
    assert "lacks the last 200 bytes of changes that the old master had 2.5 s ago" in str(found[-1])


def test_a_new_master_that_has_all_that_was_seen() -> None:
    found = looks((1.0, history(OLD, 500)), (2.0, history(NEW, 990, OLD, 901)), (3.0, history(NEW, 999, OLD, 901)))
    assert found == [None, Failover(0, 1.0), None]
    assert "has all changes that the old master had 1.0 s ago, and may lack later ones" in str(found[1])


def test_a_restart_and_a_server_without_a_common_past_are_no_failover() -> None:
    assert (
        looks((1.0, history(OLD, 500)), (2.0, history(NEW, 0)), (3.0, history("c" * 40, 7, "d" * 40, 9))) == [None] * 3
    )


def test_a_process_that_starts_after_the_failover_says_nothing() -> None:
    assert looks((1.0, history(NEW, 990, OLD, 901)), (2.0, history(NEW, 995, OLD, 901))) == [None, None]


def test_one_master_of_a_cluster_fails_over() -> None:
    replication = Replication(lambda: 1.0)
    assert replication.look([history(OLD, 500), history("c" * 40, 10)]) is None
    assert replication.look([history(NEW, 990, OLD, 401), history("c" * 40, 20)]) == Failover(100, 0.0)


def test_a_replica_has_no_history_of_its_own() -> None:
    assert History.of({"role": "slave", "master_replid": OLD}) is None
    info = {"role": "master", "master_replid": NEW, "master_repl_offset": "9", "master_replid2": OLD}
    assert History.of(info | {"second_repl_offset": "5"}) == history(NEW, 9, OLD, 5)
