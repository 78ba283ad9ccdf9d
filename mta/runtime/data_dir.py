"""The data folder of a node: made for its user alone, held by one node at a time, with an identity of its own."""

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from mta.model.errors import SettingsError

IDENTITY: Final = "node.id"
_API_URL: Final = "api.url"


class DataDir:
    """A folder that this process holds until it ends, however it ends."""

    def __init__(self, path: str) -> None:
        """Make the folder where it is absent (0700). Raises SettingsError: it cannot be used, or another node of this
        machine holds it."""
        self.path = Path(path)
        try:
            made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if made:
                self.path.chmod(0o700)
            self._lock = os.open(self.path / IDENTITY, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(
                f"node.data_dir: {error.filename or self.path}: {error.strerror}; give a folder that can be written"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it with the process
        except BlockingIOError:
            os.close(self._lock)
            raise SettingsError(
                f"node.data_dir: another node runs in {self.path}; stop it, or give another folder"
            ) from None
        self.identity = self._identity()
        self.forget_api_url()  # a node that was killed left it

    def _identity(self) -> str:
        """The random name of the folder, by which the store recognises a node that starts again."""
        known = os.read(self._lock, 64).decode("ascii", "replace").strip()
        if not known:
            known = secrets.token_hex(16)
            os.write(self._lock, known.encode() + b"\n")
            os.fsync(self._lock)
        return known

    def tell_api_url(self, url: str) -> None:
        """Write the file by which client commands on this machine find the API. Raises SettingsError."""
        path, unfinished = self.path / _API_URL, self.path / f"{_API_URL}.new"
        try:
            unfinished.write_text(url + "\n")
            unfinished.chmod(0o644)
            unfinished.rename(path)
        except OSError as error:
            raise SettingsError(f"node.data_dir: {path}: {error.strerror}; let the node's user write it") from None

    def forget_api_url(self) -> None:
        """Remove that file: no API answers any more."""
        with contextlib.suppress(OSError):
            (self.path / _API_URL).unlink(missing_ok=True)


def identity_of(path: str) -> str:
    """The random name of a data folder, "" = it has none yet."""
    try:
        return (Path(path) / IDENTITY).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def is_held(path: str) -> bool:
    """Whether a node of this machine runs in the folder."""
    try:
        lock = os.open(Path(path) / IDENTITY, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def no_file_for_others() -> None:
    """Keep other users from writing the files of this process and its children, whatever umask it came with."""
    os.umask(os.umask(0o077) | 0o022)


def check_log(path: str) -> None:
    """Try to open the delivery log at `path`, and make its folder where it is absent. Raises SettingsError."""
    log = Path(path)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    except (FileExistsError, NotADirectoryError):
        raise SettingsError(f"journal.log_path: {path}: a part of its folder is a file; give another path") from None
    except IsADirectoryError:
        raise SettingsError(f"journal.log_path: {path} is a folder; give the path of a file in it") from None
    except OSError as error:
        raise SettingsError(
            f"journal.log_path: {error.filename or path}: {error.strerror}; give a path that can be written"
        ) from None
