from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from tests.support.sources import ROOT, imports_of, sources

HOMES = {
    "redis": ("mta.redis_store",),
    "aiohttp": ("control_api", "mta.http_out"),
    "aiodns": ("mta.dns",),
    "pycares": ("mta.dns",),
    "sqlalchemy": ("mta.history",),
    "psycopg": ("mta.history",),
    "sqlite3": ("mta.history",),
    "zstandard": ("mta.redis_store", "mta.history"),
}


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    return ROOT


def test_import_contracts_hold(
    at_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own set-up of logging would switch off every logger that exists, for all tests that come later.
    monkeypatch.setattr("importlinter.cli.logging_config.dictConfig", lambda config: None)
    status = lint_imports(config_filename=str(at_root / "pyproject.toml"), cache_dir=None)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_where_its_adapter_is(library: str) -> None:
    strangers = [
        source.name
        for source in sources("mta", "control_api")
        if any(name.split(".")[0] == library for name in imports_of(source))
        and not source.name.startswith(HOMES[library])
    ]
    assert strangers == []


def test_benchmarks_import_nothing_of_the_product() -> None:
    guilty = [
        (source.name, name)
        for source in sources("bench")
        for name in imports_of(source)
        if name.split(".")[0] in ("mta", "control_api")
    ]
    assert guilty == []


@pytest.mark.parametrize("package", ["mta/policy", "mta/smtp", "mta/content", "mta/model"])
def test_pure_packages_have_no_clock_no_io_and_no_logging(package: str) -> None:
    impure = {"time", "logging", "socket", "asyncio", "subprocess", "threading", "pathlib", "ssl", "select"}
    guilty = [(s.name, sorted(imports_of(s) & impure)) for s in sources(package) if imports_of(s) & impure]
    assert guilty == []
