"""The files beside the settings: passwords, and the certificates of authorities."""

import ssl
from pathlib import Path

from mta.egress.login import Login
from mta.model.errors import SettingsError
from mta.model.settings import Settings


def read_secret(path: str, key: str) -> str:
    """The first line of the file that the setting `key` names. Raises SettingsError."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"{key}: {path}: {error.strerror}; give a file that can be read") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{key}: {path} is not UTF-8; save it as UTF-8") from None
    if not lines or not lines[0].strip():
        raise SettingsError(f"{key}: the first line of {path} is empty; write the password there")
    return lines[0].strip()


def read_logins(settings: Settings) -> dict[str, Login]:
    """The login at each relay that wants one. Raises SettingsError."""
    return {
        name: Login(relay.username, read_secret(relay.password_file, f"relays.{name}.password_file"))
        for name, relay in settings.relays.items()
        if relay.username
    }


def faults_of_files(settings: Settings) -> list[str]:
    """A sentence for each file of a delivering node that cannot be used."""
    faults: list[str] = []
    if "delivery" not in settings.node.roles:
        return faults
    try:
        read_logins(settings)
    except SettingsError as error:
        faults += error.faults
    wanted = {"delivery.ca_file": settings.delivery.ca_file}
    wanted |= {f"relays.{name}.ca_file": relay.ca_file for name, relay in settings.relays.items()}
    for key, path in wanted.items():
        if not path:
            continue
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            faults.append(f"{key}: {path} has no certificate in PEM form; give a file that has one")
        except OSError as error:
            faults.append(f"{key}: {path}: {error.strerror}; give a file that can be read")
    return faults
