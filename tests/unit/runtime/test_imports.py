"""A process imports the libraries that its role needs, and no other."""

import subprocess
import sys

import pytest

MANY = ("sqlalchemy", "aiohttp", "click", "rich", "prometheus_client", "jinja2")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mta.runtime.supervisor", (*MANY, "aiodns")),
        ("mta.runtime.worker", MANY),
        ("mta.runtime.sweeper", (*MANY, "sqlite3")),
        ("mta.runtime.journal", (*MANY, "aiodns")),
        ("control_api.__main__", ("sqlalchemy", "click", "rich", "jinja2", "mta.ingress.session")),
    ],
)
def test_a_start_imports_little(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert set(ran.stdout.split()) & set(absent) == set()
