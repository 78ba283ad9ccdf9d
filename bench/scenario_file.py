"""A scenario file: what mail is sent, to what kind of destination, through what node, and what happens meanwhile."""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import msgspec
from msgspec import Meta

from bench.flow import Load

DIRECTORY = Path(__file__).resolve().parent / "scenarios"
_Count = Annotated[int, Meta(ge=1)]
_Bytes = Annotated[int, Meta(ge=256, le=50 * 2**20)]
_Percent = Annotated[float, Meta(ge=0, le=100)]
_Share = Annotated[float, Meta(ge=0, lt=1)]


class BadScenario(ValueError):
    """A file that is not to be run: which, where in it, why, and what would do."""


class LoadPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[load]`: what the source sends; each message has two tags."""

    messages: Annotated[_Count, Meta(description="messages of a run, as 50_000")] = 50_000
    sizes: Annotated[
        tuple[tuple[_Bytes, Annotated[float, Meta(gt=0, le=1)]], ...],
        Meta(
            min_length=1, description="sizes in bytes (256 to 50 MiB) with their shares, as [[4096, 0.7], [51200, 0.3]]"
        ),
    ] = ((4096, 1.0),)
    domains: Annotated[_Count, Meta(description="recipient domains, as 5")] = 5
    sessions: Annotated[int, Meta(ge=1, le=1000, description="SMTP sessions at once, 1 to 1000, as 40")] = 40
    recipients: Annotated[int, Meta(ge=1, le=1000, description="recipients of a message, 1 to 1000, as 1")] = 1
    reconnect: Annotated[bool, Meta(description="true: a connection for each message")] = False
    rate: Annotated[float, Meta(ge=0, description="messages a second, 0 = as fast as they are answered")] = 0.0


class DestinationPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[destination]`: what the sink does besides taking mail."""

    delay_ms: Annotated[float, Meta(ge=0, le=60_000, description="ms before each reply to a dot, as 50")] = 0.0
    defer: Annotated[_Percent, Meta(description="percent of first attempts that get a 4xx at the dot, as 20")] = 0.0
    stall: Annotated[_Percent, Meta(description="percent of dots that are answered late, as 1")] = 0.0
    stall_seconds: Annotated[float, Meta(ge=0, le=60, description="how late these are answered, s, as 2")] = 2.0
    tls: Annotated[bool, Meta(description="true: it offers STARTTLS")] = False


class NodePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[node]`: how Floodgate is started."""

    workers: Annotated[int, Meta(ge=1, le=256, description="worker processes, 1 to 256, as 2")] = 2
    settings: Annotated[tuple[str, ...], Meta(description='settings, as ["delivery.retries=2s"]')] = ()


class ShapePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[shape]`: what happens before and during the load."""

    backlog_first: Annotated[
        bool, Meta(description="true: all mail is accepted first, and all of it due at one instant")
    ] = False
    rules: Annotated[int, Meta(ge=0, description="forced errors, made before, that match nothing, as 10_000")] = 0
    dkim: Annotated[
        tuple[Literal["rsa", "ed25519"], ...],
        Meta(description='a DKIM key of each kind signs all mail, as ["rsa", "ed25519"]'),
    ] = ()
    cancel_at: Annotated[
        _Share, Meta(description="part of the messages after whose receipt all is canceled by tag, below 1, as 0.5")
    ] = 0.0
    of_maximum: Annotated[
        _Share, Meta(description="pace as a part of the maximum rate, which is measured first, below 1, as 0.5")
    ] = 0.0


class ScenarioFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file; `name` is that of the file."""

    about: Annotated[str, Meta(min_length=1, description="one sentence that says what is measured")]
    load: LoadPart = LoadPart()
    destination: DestinationPart = DestinationPart()
    node: NodePart = NodePart()
    shape: ShapePart = ShapePart()
    name: str = ""

    def as_load(self) -> Load:
        """The load as a flow takes it."""
        sizes = self.load.sizes
        to = self.destination
        destination = ["--delay-ms", str(to.delay_ms), "--defer", str(to.defer), "--stall", str(to.stall)]
        destination += ["--stall-seconds", str(to.stall_seconds)]
        if to.tls:
            destination.append("--tls")
        return Load(
            messages=self.load.messages,
            size=round(sum(size * share for size, share in sizes)),
            sessions=self.load.sessions,
            domains=self.load.domains,
            workers=self.node.workers,
            settings=list(self.node.settings),
            recipients=self.load.recipients,
            sizes=",".join(f"{size}:{share:g}" for size, share in sizes),
            source=("--reconnect",) if self.load.reconnect else (),
            destination=tuple(destination),
            patience=(to.stall_seconds if to.stall else 0.0) + to.delay_ms / 1000,
        )


_PARTS: dict[str, type[msgspec.Struct]] = {
    "load": LoadPart,
    "destination": DestinationPart,
    "node": NodePart,
    "shape": ShapePart,
}


def named() -> dict[str, ScenarioFile]:
    """The files that come with the harness, `main` first."""
    found = {path.stem: read(path) for path in sorted(DIRECTORY.glob("*.toml"))}
    return {"main": found.pop("main")} | found


def find(word: str) -> ScenarioFile:
    """The scenario that a name, or the path of a file, stands for. Raises BadScenario."""
    if word.endswith(".toml"):
        return read(Path(word))
    path = DIRECTORY / f"{word}.toml"
    if "/" in word or not path.is_file():
        names = sorted(path.stem for path in DIRECTORY.glob("*.toml"))
        raise BadScenario(
            f"{word}: there is no such scenario, nor a command of that name; take one of {', '.join(names)}, or the "
            f"path of a file that ends in .toml"
        )
    return read(path)


def read(path: Path) -> ScenarioFile:
    """The file at `path`. Raises BadScenario, naming file, field, reason and what would do."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"{path}: it cannot be read ({error}); give the path of a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise BadScenario(f"{path}: it is not TOML ({error}); correct it there") from None
    if "name" in data:
        raise BadScenario(f"{path}: name: unknown key; leave it out: the file's name is the scenario's")
    try:
        found = msgspec.convert(data, ScenarioFile)
    except msgspec.ValidationError as error:
        raise BadScenario(f"{path}: {_explained(error)}") from None
    _check(path, found)
    return msgspec.structs.replace(found, name=path.stem)


def _check(path: Path, found: ScenarioFile) -> None:
    """Checks conditions over several fields. Raises BadScenario."""
    shares = [share for _, share in found.load.sizes]
    if any(round(share, 3) != share for share in shares):
        raise BadScenario(f"{path}: load.sizes: a share has more than three decimals; round it, as 0.333")
    if abs(sum(shares) - 1) > 1e-9:
        raise BadScenario(f"{path}: load.sizes: the shares add up to {sum(shares):g}; make them add up to 1")
    if bad := [setting for setting in found.node.settings if "=" not in setting]:
        raise BadScenario(f"{path}: node.settings: {bad[0]!r} sets nothing; write it as KEY=VALUE")
    if found.load.rate and found.shape.of_maximum:
        raise BadScenario(f"{path}: load.rate: shape.of_maximum sets the pace, too; leave one of them out")
    if found.shape.backlog_first and (found.shape.cancel_at or found.load.rate or found.shape.of_maximum):
        raise BadScenario(f"{path}: shape.backlog_first: it has no pace and is not canceled; leave the others out")


def _explained(error: msgspec.ValidationError) -> str:
    """Field, reason and remedy, out of msgspec's words: `Expected `int`, got `str` - at `$.load.messages``."""
    reason, _, place = str(error).partition(" - at `$")
    words = place.strip("`").removeprefix(".").partition("[")[0].split(".")
    reason = reason.replace("`", "")
    if reason.startswith("Object contains unknown field"):
        key = reason.rpartition(" ")[2]
        part: type[msgspec.Struct] = _PARTS.get(words[0], ScenarioFile)
        known = [name for name in part.__struct_fields__ if name != "name"]
        near = difflib.get_close_matches(key, known, 1)
        meant = f"perhaps {near[0]} is meant" if near else f"known are {', '.join(known)}"
        return f"{'.'.join([*filter(None, words), key])}: unknown key; {meant}"
    if reason.startswith("Object missing required field"):
        return f"{reason.rpartition(' ')[2]}: it is missing; add {_described(ScenarioFile, 'about')}"
    part = _PARTS.get(words[0], ScenarioFile) if len(words) > 1 else ScenarioFile
    wanted = _described(part, words[-1]) if words[-1] in part.__struct_fields__ else ""
    return f"{'.'.join(words)}: {reason}; give {wanted or 'a table of keys and values'}"


def _described(part: type[msgspec.Struct], field: str) -> str:
    """The description of a field of `part`."""
    hint = get_type_hints(part, include_extras=True)[field]
    return next((meta.description for meta in getattr(hint, "__metadata__", ()) if meta.description), "")
