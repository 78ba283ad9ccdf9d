"""The administrator's token of a node: given by the environment, or made at the first start."""

import os
import secrets
from pathlib import Path

from mta.model.errors import SettingsError


def admin_token(folder: Path) -> str:
    """From FLOODGATE_ADMIN_TOKEN, else `<folder>/admin.token`, which is made if absent (0600). Raises SettingsError."""
    given = os.environ.get("FLOODGATE_ADMIN_TOKEN", "").strip()
    if given:
        return given
    path = folder / "admin.token"
    try:
        if not path.exists():
            _write(path, secrets.token_urlsafe(32))
        token = path.read_text("ascii").strip()
    except OSError as error:
        raise SettingsError(f"node.data_dir: {path}: {error.strerror}; let the node's user read and write it") from None
    except UnicodeDecodeError:
        token = ""
    if not token:
        raise SettingsError(f"node.data_dir: {path} holds no token; remove the file, and the node makes a new one")
    return token


def _write(path: Path, token: str) -> None:
    """Write the file whole or not at all, also when the machine stops."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
