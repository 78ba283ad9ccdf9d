"""The programs of the peers: those of the system, or put into a scratch directory from the package registries."""

import grp
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.progress import Say

HARAKA = "3.3.4"
_HARAKA_AS_OF = "2026-09-10"  # with the packages of that day: the same ones each time
_COMMANDS = (Path("/usr/sbin"), Path("/usr/local/sbin"))
_DAEMONS = (Path("/usr/lib/postfix/sbin"), Path("/usr/libexec/postfix"))
# Accounts for the daemons: Postfix's own, or some that each system has and nobody else uses.
_OWNERS = ("postfix", "daemon")
_GROUPS = ("postdrop", "games")


class Missing(Exception):
    """A peer cannot take part, and why."""


class Postfix(NamedTuple):
    """Where the programs of Postfix lie, and for whom its daemons run."""

    commands: Path
    daemons: Path
    libraries: str  # of an unpacked package; empty for the system's
    owner: str
    group: str

    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": self.libraries} if self.libraries else {}

    def version(self) -> str:
        return _said([str(self.commands / "postconf"), "-c", "/", "-dh", "mail_version"], self.environment())


class Exim(NamedTuple):
    """An unpacked Exim."""

    program: Path
    libraries: str
    version: str


def postfix(scratch: Path, say: Say, system: bool = True) -> Postfix:
    """Postfix of the system, or Debian's package unpacked below `scratch`. Raises Missing."""
    commands = next((path for path in _COMMANDS if (path / "smtp-source").exists()), None)
    daemons = next((path for path in _DAEMONS if (path / "master").exists()), None)
    libraries = ""
    if not system or commands is None or daemons is None:
        root = _unpacked("postfix", scratch, say)
        commands, daemons = root / "usr/sbin", root / "usr/lib/postfix/sbin"
        libraries = _libraries(root)
    owner = _first(_OWNERS, {entry.pw_name for entry in pwd.getpwall()})
    group = _first(_GROUPS, {entry.gr_name for entry in grp.getgrall()})
    found = Postfix(commands, daemons, libraries, owner, group)
    found.version()
    return found


def haraka(scratch: Path, say: Say) -> Path:
    """The directory of Haraka's package, installed below `scratch`. Raises Missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("Haraka needs node and npm (20 or later); install nodejs")
    root = scratch / f"haraka-{HARAKA}"
    package = root / "node_modules" / "Haraka"
    if not (package / "package.json").exists():
        say(f"installing Haraka {HARAKA} into {root}")
        root.mkdir(parents=True, exist_ok=True)
        options = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", f"--before={_HARAKA_AS_OF}"]
        _said(["npm", "install", "--prefix", str(root), *options, f"Haraka@{HARAKA}"], {})
    return package


def exim(scratch: Path, say: Say) -> Exim:
    """Exim from Debian's package, unpacked below `scratch`. Raises Missing."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        raise Missing("Exim needs root and unshare: its account is built in, and is given to it in a mount namespace")
    root = _unpacked("exim4-daemon-light", scratch, say)
    package = next((scratch / "packages" / "exim4-daemon-light").glob("exim4-daemon-light_*.deb"))
    version = _said(["dpkg-deb", "--field", str(package), "Version"], {})
    program = root / "usr/sbin/exim4"
    program.chmod(0o755)  # it runs as root; with the set-user-id bit the loader would not see its libraries
    return Exim(program, _libraries(root), version)


def _libraries(root: Path) -> str:
    """Where the loader finds the libraries of an unpacked package."""
    return ":".join(sorted({str(path.parent) for path in root.rglob("lib*.so*")}))


def _unpacked(name: str, scratch: Path, say: Say) -> Path:
    """A Debian package and the libraries that it names and the system lacks, unpacked; nothing is installed."""
    for tool in ("apt-get", "dpkg", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"{name} is not installed, and there is no {tool} to fetch its package: install {name}")
    root, fetched = scratch / name, scratch / "packages" / name
    if root.is_dir():
        return root
    say(f"unpacking {name} into {root}")
    fetched.mkdir(parents=True, exist_ok=True)
    _said(["apt-get", "download", name], {}, fetched)
    depends = _said(["dpkg-deb", "--field", str(next(fetched.glob(f"{name}_*.deb"))), "Depends"], {})
    for library in re.findall(r"\blib[\w.+-]+", depends):
        if subprocess.run(["dpkg", "--status", library], capture_output=True, check=False).returncode:
            _said(["apt-get", "download", library], {}, fetched)
    unfinished = scratch / f"{name}.unfinished"
    for package in fetched.glob("*.deb"):
        _said(["dpkg", "--extract", str(package), str(unfinished)], {})
    unfinished.rename(root)
    return root


def _first(names: tuple[str, ...], there: set[str]) -> str:
    for name in names:
        if name in there:
            return name
    raise Missing(f"no account {' or '.join(names)}")


def _said(command: list[str], environment: dict[str, str], place: Path | None = None) -> str:
    """The output of a command. Raises Missing when it fails."""
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, cwd=place, check=False)
    if said.returncode:
        raise Missing(f"{' '.join(command[:3])} failed: {(said.stderr or said.stdout).strip()[-400:]}")
    return said.stdout.strip()
