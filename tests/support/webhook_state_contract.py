"""The state of webhook endpoints, as every database must keep it."""

from collections.abc import Callable

import pytest

from mta.ports.history import Cursor
from mta.ports.webhooks import (
    EventPlace,
    KeptFigures,
    KeptRequest,
    KeptStream,
    OwnerMoved,
    StateChange,
    WebhookState,
)

M1, M2 = b"m" * 16, b"n" * 16


def change(**given: object) -> StateChange:
    usual: dict[str, object] = {"streams": {}, "put": (), "drop": (), "figures": KeptFigures()}
    return StateChange(**(usual | given))  # type: ignore[arg-type]


def a_state_is_kept_and_taken(state: WebhookState) -> None:
    owner, known = state.take("w1")
    assert (owner, known) == (1, None)
    first = KeptRequest(1, (EventPlace(3, 7, M1), EventPlace(3, 8, M2)), 2, 5000, 1000)
    second = KeptRequest(2, (EventPlace(3, 9),))
    figures = KeptFigures(failures=2, failing_since=1000, last_failure_text="HTTP 500")
    live, replay = KeptStream(Cursor(3, 9), None, 4), KeptStream(Cursor(1, 0), Cursor(2, 0), 5)
    state.write("w1", 1, change(streams={False: live, True: replay}, put=((False, first), (True, second)),
                                figures=figures))  # fmt: skip
    owner, known = state.take("w1")
    assert owner == 2
    assert known is not None
    assert known.streams == {False: live, True: replay}
    assert known.requests == {False: [first], True: [second]}
    assert known.figures == figures


def requests_are_changed_and_dropped(state: WebhookState) -> None:
    state.take("w1")
    live = KeptStream(Cursor(1, 0))
    requests = [KeptRequest(number, (EventPlace(1, number, M1),)) for number in range(1, 1201)]
    state.write("w1", 1, change(streams={False: live}, put=tuple((False, request) for request in requests)))
    again = requests[0]._replace(failures=1, due=99)
    state.write("w1", 1, change(put=((False, again),), drop=tuple((False, number) for number in range(2, 1200))))
    _, known = state.take("w1")
    assert known is not None
    assert list(known.requests[False]) == [again, requests[-1]]


def a_replay_that_is_over_leaves_nothing(state: WebhookState) -> None:
    state.take("w1")
    one = KeptRequest(1, (EventPlace(1, 1, M1),))
    streams = {False: KeptStream(Cursor(1, 0)), True: KeptStream(Cursor(1, 0), Cursor(2, 0), 1)}
    state.write("w1", 1, change(streams=streams, put=((True, one), (False, one))))
    state.write("w1", 1, change(streams={True: None}))
    _, known = state.take("w1")
    assert known is not None
    assert (set(known.streams), known.requests) == ({False}, {False: [one], True: []})


def only_the_owner_writes(state: WebhookState) -> None:
    state.take("w1")
    live = KeptStream(Cursor(1, 0))
    state.write("w1", 1, change(streams={False: live}))
    state.take("w1")
    with pytest.raises(OwnerMoved):
        state.write("w1", 1, change(streams={False: KeptStream(Cursor(9, 0))}))
    owner, known = state.take("w1")
    assert owner == 3
    assert known is not None
    assert known.streams == {False: live}


def an_endpoint_that_is_forgotten_has_no_state(state: WebhookState) -> None:
    for name in ("w1", "w2"):
        state.take(name)
        put = ((False, KeptRequest(1, (EventPlace(1, 1, M1),))),)
        state.write(name, 1, change(streams={False: KeptStream(Cursor(1, 0))}, put=put))
    state.forget("w1")
    assert list(state.known()) == ["w2"]
    with pytest.raises(OwnerMoved):
        state.write("w1", 1, change())
    assert state.take("w1") == (1, None)


STORIES: tuple[Callable[[WebhookState], None], ...] = (
    a_state_is_kept_and_taken,
    requests_are_changed_and_dropped,
    a_replay_that_is_over_leaves_nothing,
    only_the_owner_writes,
    an_endpoint_that_is_forgotten_has_no_state,
)
