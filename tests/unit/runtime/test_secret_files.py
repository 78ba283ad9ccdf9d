"""Files beside the settings: a node that delivers names each one that it cannot use."""

import pathlib

from mta.model.destination_settings import RelaySettings
from mta.model.settings import DeliverySettings, NodeSettings, Settings
from mta.runtime.secret_files import faults_of_files, read_logins
from tests.support.certificates import Authority


def settings(folder: pathlib.Path, **relays: str) -> Settings:
    return Settings(
        node=NodeSettings(),
        delivery=DeliverySettings(ca_file=relays.pop("ca_file", "")),
        relays={
            name: RelaySettings(host="h", username="u", password_file=str(folder / path))
            for name, path in relays.items()
        },
    )


def test_the_first_line_is_the_password(tmp_path: pathlib.Path) -> None:
    (tmp_path / "good").write_text("secret \nother\n")
    good = settings(tmp_path, out="good", ca_file=str(Authority(tmp_path).file))
    assert read_logins(good)["out"].password == "secret"
    assert faults_of_files(good) == []


def test_each_file_that_cannot_be_used_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "text").write_text("no certificate")
    (fault,) = faults_of_files(settings(tmp_path, out="absent"))
    assert fault.startswith("relays.out.password_file: ")
    assert "No such file" in fault
    (fault,) = faults_of_files(settings(tmp_path, out="empty"))
    assert "the first line of" in fault
    (fault,) = faults_of_files(settings(tmp_path, ca_file=str(tmp_path / "text")))
    assert fault.startswith("delivery.ca_file: ")
    assert "PEM" in fault
    (fault,) = faults_of_files(settings(tmp_path, ca_file=str(tmp_path / "absent")))
    assert "No such file" in fault
