import os
import pathlib

import pytest

from mta.runtime.embedded import EmbeddedServer

WHOLE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("limit", "most"), [("1073741824\n", 2**29), ("max\n", WHOLE // 2), (None, WHOLE // 2)])
def test_the_server_has_half_of_the_memory_that_there_is(tmp_path, monkeypatch, limit, most):
    container = tmp_path / "memory.max"
    if limit is not None:
        container.write_text(limit)
    monkeypatch.setattr("mta.runtime.embedded._CONTAINER", container)
    assert f"maxmemory {most}\n" in EmbeddedServer(pathlib.Path("/somewhere"))._configuration()
