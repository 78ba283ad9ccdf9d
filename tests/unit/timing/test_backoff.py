from mta.timing.backoff import Backoff


def test_pauses_double_up_to_the_last_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.1, 0.5)
    assert backoff.pause == 0.0
    assert [backoff.failed() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert backoff.pause == 0.5
    backoff.succeeded()
    assert backoff.pause == 0.0
    assert backoff.failed() == 0.1


def test_a_first_pause_beyond_the_last_is_cut() -> None:
    assert Backoff(8.0, 5.0).failed() == 5.0


def test_a_restart_waits_as_after_a_first_failure() -> None:
    backoff = Backoff(0.1, 5.0)
    backoff.failed()
    backoff.failed()
    backoff.restart()
    assert (backoff.pause, backoff.failed()) == (0.1, 0.2)
