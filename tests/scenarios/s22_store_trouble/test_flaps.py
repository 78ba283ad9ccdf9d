"""The store's connections are cut at random bytes while mail comes and goes (minutes of it: `make flaps`)."""

from pathlib import Path

from tests.flaps import story
from tests.flaps.proxy import CuttingProxy
from tests.support.node import Node, running, until
from tests.support.valkey import Valkey


def test_k2_connections_that_flap_cost_no_mail_no_copy_and_no_process(tmp_path: Path) -> None:
    evidence = story.run(4.0, 1, tmp_path)
    assert story.failures(evidence) == [], story.summary(evidence)


def test_k2_a_node_starts_while_connections_flap(tmp_path: Path) -> None:
    """Its processes read and write this and that before they are ready: none of them ends because of a cut."""
    valkey = Valkey(tmp_path / "valkey")
    with running(valkey):
        proxy = CuttingProxy(valkey.port, 7)
        with running(proxy):
            proxy.storm()
            node = Node(tmp_path / "n1", redis=f"redis://127.0.0.1:{proxy.port}", workers=1, redis__timeout="2s")
            with running(node):
                assert proxy.cuts
                proxy.calm()
                until(lambda: node.call("GET", "/readyz")[0] == 200)
    assert "ended with status" not in node.errors()
    assert "Traceback" not in node.errors()
