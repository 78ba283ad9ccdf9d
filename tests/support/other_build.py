"""A newer build of the program: a copy of this one with other atomic steps and one more selector of rules, `colour`."""

import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[2]
_CHANGES = {
    "mta/redis_store/steps/00_common.lua": (("-- Functions of all steps.", "-- Functions of all newer steps."),),
    "mta/model/rules.py": (
        ("    tenant: str | None = None ", "    colour: str | None = None\n    tenant: str | None = None "),
        ("SINCE: Mapping[str, int] = {", 'SINCE: Mapping[str, int] = {"selectors.colour": 99, '),
    ),
    "mta/model/statements.py": (
        (
            "    tenant: str | UnsetType = UNSET\n",
            "    colour: str | UnsetType = UNSET\n    tenant: str | UnsetType = UNSET\n",
        ),
    ),
    "control_api/schemas/rule_bodies.py": (
        (
            "    tenant: Annotated[",
            '    colour: Annotated[str | None, values.ONE_TAG, Meta(description="new")] = None\n    tenant: Annotated[',
        ),
    ),
    "control_api/rules/body.py": (
        ("        tenant=asked.tenant,", "        colour=asked.colour,\n        tenant=asked.tenant,"),
    ),
}


def make(folder: pathlib.Path) -> pathlib.Path:
    """Where it is."""
    for package in ("mta", "control_api"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in _CHANGES.items():
        path = folder / name
        text = path.read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{name}: {old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        path.write_text(text)
    return folder
