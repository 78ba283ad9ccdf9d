"""`config check` tells all faults at once, warns of what is hardly meant, and with --live tries everything (R6)."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.scenarios.s23_running.conftest import Place
from tests.support.node import Node, running
from tests.support.valkey import SAFE, Valkey, free_port


class Said(NamedTuple):
    status: int
    out: str
    errors: list[str]


def check(*words: str, **sets: str) -> Said:
    command = [sys.executable, "-m", "mta.cli.main", "config", "check", *words]
    for key, value in sets.items():
        command += ["--set", f"{key.replace('__', '.')}={value}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return Said(ran.returncode, ran.stdout, ran.stderr.splitlines())


def test_r6_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text(
        "[smtp]\nmax_conections = 5\ntrusted_networks = ['lan', '10.0.0.1/8']\nmax_errors = 0\n"
        "[delivery]\nretries = ['soon', '1m', 'later']\nlease = '5s'\n"
        "[pools.a]\nips = ['1.2.3', '192.0.2.1', '192.0.2.1']\n[domains]\n'a.*.x' = {}\n[redis]\nurl = 'http://h'\n"
    )
    said = check("--config", str(file), "--set", "nonsense", "--set", "node.name=a.b")
    told = [line.removeprefix("floodgate: ").replace(f"{file}: ", "").partition(": ")[0] for line in said.errors]
    assert (said.status, said.out) == (1, "")
    assert sorted(told) == [
        "--set", "--set", "delivery.lease", "delivery.retries", "delivery.retries", 'domains."a.*.x"', "pools.a.ips",
        "pools.a.ips", "redis.url", "smtp.max_conections", "smtp.max_errors", "smtp.trusted_networks",
        "smtp.trusted_networks",
    ]  # fmt: skip
    as_json = check("--json", "--config", str(file))
    assert json.loads(as_json.out)["ok"] is False
    assert len(json.loads(as_json.out)["faults"]) == len(said.errors) - 2
    node = [sys.executable, "-m", "mta.cli.main", "node", "--config", str(file)]
    started = subprocess.run(node, capture_output=True, text=True, timeout=60)
    assert started.returncode == 1
    assert len(started.stderr.splitlines()) == len(said.errors) - 2


def test_r6_what_is_hardly_meant_is_warned_of() -> None:
    said = check(
        smtp__trusted_networks='["0.0.0.0/0", "10.0.0.0/8", "203.0.0.0/12", "::/0"]',
        delivery__max_age="3",
        pools__bulk="{}",
        redis__url="redis://:secret@127.0.0.1:1",
        api__listen="0.0.0.0:8080",
        api__allow_plaintext="true",
    )
    assert (said.status, said.out) == (0, "ok\n")
    assert [line.partition(": ")[2].partition(";")[0] for line in said.errors] == [
        "smtp.trusted_networks: 0.0.0.0/0 lets everyone send mail through this node and use injection headers",
        "smtp.trusted_networks: 203.0.0.0/12 lets 1,048,576 addresses send mail through this node and use injection "
        "headers",
        "smtp.trusted_networks: ::/0 lets everyone send mail through this node and use injection headers",
        "smtp.default_pool: mail that names no pool goes to 'default', which [pools] does not have: it waits until a "
        "node serves that pool",
        "delivery.max_age: mail expires after 3s, before its first retry (1m)",
        "redis.url: a password there can be read wherever the settings can, and in the list of processes if it was "
        "given with --set",
        "api.listen: tokens cross the network to 0.0.0.0:8080 in the clear",
    ]
    assert "secret" not in "".join(said.errors)


def test_r6_the_defaults_and_common_settings_give_no_warning() -> None:
    said = check(smtp__trusted_networks='["127.0.0.0/8", "10.0.0.0/8", "fd00::/8", "198.51.100.0/24"]')
    assert said == Said(0, "ok\n", [])


def test_r6_live_tries_ports_folders_ips_and_the_store_and_tells_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    away = free_port()
    with socket.create_server(("127.0.0.1", 0)) as smtp, socket.create_server(("127.0.0.1", 0)) as api:
        busy = [sock.getsockname()[1] for sock in (smtp, api)]
        said = check(
            "--live",
            smtp__listen=f"127.0.0.1:{busy[0]}",
            api__listen=f"127.0.0.1:{busy[1]}",
            node__data_dir=str(tmp_path / "file" / "data"),
            journal__log_path=str(tmp_path / "file" / "log" / "delivery.jsonl"),
            redis__url=f"redis://127.0.0.1:{away}",
            pools='{default = {}, far = {ips = "192.0.2.7"}, half = {ips = ["127.0.0.1", "192.0.2.8"]}}',
        )
    assert (said.status, said.out) == (1, "")
    assert said.errors[:2] == [
        "warning: pools.far.ips: this host holds none of 192.0.2.7: it does not serve the pool",
        "warning: pools.half.ips: this host does not hold 192.0.2.8: it sends from the others",
    ]
    assert said.errors[2:6] == [
        f"floodgate: smtp.listen: cannot listen on 127.0.0.1:{busy[0]}: Address already in use",
        f"floodgate: api.listen: cannot listen on 127.0.0.1:{busy[1]}: Address already in use",
        f"floodgate: node.data_dir: {tmp_path}/file is a file, not a folder; give another path",
        f"floodgate: journal.log_path: {tmp_path}/file is a file, not a folder; give another path",
    ]
    assert said.errors[6].startswith(f"floodgate: redis.url: the store at 127.0.0.1:{away} does not answer: ")
    assert len(said.errors) == 7


def test_r6_live_leaves_nothing_behind_and_knows_a_running_node(place: Place, tmp_path: Path) -> None:
    sets: dict[str, Any] = {"redis__url": place.valkey.url, "smtp__listen": "127.0.0.1:0", "api__listen": "127.0.0.1:0"}
    said = check("--live", **sets, node__data_dir=str(tmp_path / "new" / "data"))
    assert said == Said(0, "ok\n", [])
    assert not list(tmp_path.iterdir())
    assert b"library_name" not in place.valkey.ask("FUNCTION", "LIST")
    with running(node := Node(tmp_path / "n1", "checked", place.valkey.url, workers=1)):
        sets |= {"node__name": "checked", "smtp__listen": "{}:{}".format(*node.smtp)}
        own = check("--live", **sets, node__data_dir=str(tmp_path / "n1"))
        assert (own.status, own.out) == (0, "ok\n")
        assert "a node runs in" in own.errors[0]
        other = check("--live", **sets, node__data_dir=str(tmp_path / "n2"))
        assert other.status == 1
        assert [line.split(": ")[1] for line in other.errors] == ["smtp.listen", "node.name"]


@pytest.mark.parametrize("option", [("--appendfsync", "everysec"), ("--maxmemory-policy", "allkeys-lru")])
def test_r6_live_names_what_is_unsafe(tmp_path: Path, option: tuple[str, str]) -> None:
    valkey = Valkey(tmp_path / "valkey", options=(*SAFE, *option))
    with running(valkey):
        said = check("--live", redis__url=valkey.url, smtp__listen="127.0.0.1:0", api__listen="127.0.0.1:0",
                     node__data_dir=str(tmp_path / "n1"))  # fmt: skip
    assert said.status == 1
    assert option[0].removeprefix("--") in said.errors[0]
    assert "can lose accepted mail" in said.errors[0]


@pytest.mark.parametrize("folder", ["/proc/nope", "/sys/fgx"])
def test_r6_live_tries_to_write_whatever_the_permissions_say(tmp_path: Path, folder: str) -> None:
    sets: dict[str, Any] = {"redis__url": "embedded", "smtp__listen": "127.0.0.1:0", "api__listen": "127.0.0.1:0"}
    said = check("--live", **sets, node__data_dir=folder, journal__log_path=f"{folder}/log/delivery.jsonl")
    assert (said.status, said.out) == (1, "")
    for line, key in zip(said.errors, ("node.data_dir", "journal.log_path"), strict=True):
        assert line.startswith(f"floodgate: {key}: {Path(folder).parent} cannot be written by this user (")


def test_r6_live_tries_what_is_in_the_folder_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    sets: dict[str, Any] = {"redis__url": "embedded", "smtp__listen": "127.0.0.1:0", "api__listen": "127.0.0.1:0"}
    (tmp_path / "node.id").write_text("0" * 32 + "\n")
    (tmp_path / "delivery.jsonl").write_text("{}\n")
    sets |= {"node__data_dir": str(tmp_path), "journal__log_path": str(tmp_path / "delivery.jsonl")}
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert check("--live", **sets) == Said(0, "ok\n", [])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
