import pathlib

from mta.model.status import Status
from tests.scenarios.s33_history.conftest import Place
from tests.support.history import history_of
from tests.support.node import TOKEN
from tests.support.shell import Shell


def test_an_address_is_erased_from_history_and_the_logs_that_have_it_are_named(place: Place) -> None:
    place.sink.sink.recipients["anna@erase.test"] = "550 5.1.1 anna@erase.test is unknown"
    place.node.send(["anna@erase.test", "ben@erase.test"], ("erase",), X_MQ_Customer="anna")
    place.logged("erase", "Delivery", 1)
    place.logged("erase", "Bounce", 1)
    place.caught_up()
    assert len(place.history.rows(recipient="anna@erase.test")) == 1
    done = Shell(place.node, place.sink).run("log", "forget", "ANNA@erase.test", "--yes", FLOODGATE_TOKEN=TOKEN)
    assert done.status == 0, done.err
    assert "deliveries: 1, events: 2" in done.err + done.out
    assert str(place.node.log) in done.err + done.out
    with history_of(place.node.folder) as history:
        assert history.rows(recipient="anna@erase.test") == []
        rows = history.rows(tag="erase")
        assert [row.last.recipient for row in rows if row.last.recipient == "ben@erase.test"] == ["ben@erase.test"]
        (erased,) = [row for row in rows if row.standing.status is Status.UNDELIVERABLE]
        assert erased.last.recipient.startswith("forgotten-")
        assert (erased.last.domain, erased.last.code, erased.last.text) == ("erase.test", 550, erased.last.recipient)
        assert [row.id for row in history.rows(recipient=erased.last.recipient)] == [erased.id]
    files = (path for path in pathlib.Path(place.node.folder / "history").iterdir() if path.suffix == ".db")
    assert not [path for path in files if b"anna@erase" in path.read_bytes().lower()]
