"""A running system and devices in another process, over IEEE 2030.5: registered, heard and ordered."""

import csv
import json
import re
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import httpx
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app
from gridflock.console._devices import serves
from gridflock.console._devices_operate import hosts_of, pins_of
from gridflock.console._offline import export_fleet
from gridflock.field.ieee2030_5 import identity
from gridflock.runtime.devices._apart import scenario_of
from gridflock.sim import World

COUNT = 5
SPEED = 30
GRIDFLOCK = [sys.executable, "-c", "from gridflock.console import main; main()"]


def _free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def _invoke(*words):
    answer = CliRunner().invoke(app, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    return answer


@pytest.fixture
def network(tmp_path, require):
    """An authority with a server's and five devices' certificates, and the registry that has their LFDIs."""
    require("httptools", find_spec("httptools") is not None)
    pki = tmp_path / "pki"
    _invoke("pki", "init", pki, "--name", "Story", "--test")
    _invoke("pki", "issue-service", pki, "utility", "--host", "localhost", "--host", "127.0.0.1")
    device = ("--serial", "S", "--type", "1.3.6.1.4.1.40732.99.1", "--count", COUNT)
    _invoke("pki", "issue-device", pki, "sim", *device)
    lfdi = {each.name: each.lfdi for each in identity.Authority(pki).issued}
    world = World(scenario_of(COUNT, 1))
    fleet = tmp_path / "fleet.csv"
    export_fleet(fleet, scenario_of(COUNT, 1))
    with fleet.open(newline="") as told:
        rows = list(csv.DictReader(told))
    spoken = {own: lfdi[f"sim-{k}"] for k, own in enumerate(world.spoken, 1)}
    with fleet.open("w", newline="") as told:
        writer = csv.DictWriter(told, [*rows[0], "lfdi"])
        writer.writeheader()
        writer.writerows(row | {"lfdi": spoken.get(row["id"], "")} for row in rows)
    return pki, fleet, tuple(spoken)


@pytest.mark.slow
def test_devices_of_one_process_are_heard_and_ordered_by_another(network, tmp_path):
    """Five devices register, are under control after an order, answer, and their power is in the image."""
    pki, fleet, names = network
    data, rest, port = tmp_path / "data", _free_port(), _free_port()
    token = _invoke("users", "add", "story", "--role", "operator", "--data", data, "--json").stdout
    token = json.loads(token)["token"]
    log = (tmp_path / "run.txt").open("w")
    running = subprocess.Popen(
        [
            *GRIDFLOCK, "run", "--data", str(data), "--ders", str(scenario_of(COUNT, 1).ders), "--seed", "1",
            "--fleet", str(fleet), "--port", str(rest), "--speed", str(SPEED), "--tick", "60",
            "--ieee2030-5", str(port), "--pki", str(pki),
        ],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    client = httpx.Client(base_url=f"http://127.0.0.1:{rest}", headers={"Authorization": f"Bearer {token}"})
    try:
        _until(lambda: _answers(client), 300, tmp_path / "run.txt")
        for name in names:
            said = {"group": name, "p_kw": 0.0, "minutes": 120, "why": "a story"}
            assert client.post("/api/proposals", json=said).status_code < 300
        devices = subprocess.run(
            [
                *GRIDFLOCK, "devices", "run", "--server", f"localhost:{port}", "--pki", str(pki),
                "--count", str(COUNT), "--minutes", "20", "--speed", str(SPEED), "--pin", "111115", "--json",
            ],
            capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert devices.returncode == 0, devices.stderr
        found = json.loads(devices.stdout)
        assert found["registered"] == found["devices"] == COUNT
        assert found["readings"] >= 5 * COUNT
        assert found["under_control"] >= 1
        assert found["responses"] >= 1
        assert found["errors"] == {}
    finally:
        client.close()
        running.terminate()
        running.wait(120)
        log.close()
    assert "stopped" in (tmp_path / "run.txt").read_text()


def _answers(client):
    try:
        return client.get("/api/status").status_code == 200
    except httpx.HTTPError:
        return False


def _until(holds, seconds, told):
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, told.read_text()
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--server", "nowhere", "--pki", "x"), r"server: 'nowhere' \(rule: HOST:PORT\)"),
        (("--server", "a:1", "--pki", "x", "--protocol", "ocpp"), r"protocol: 'ocpp' \(rule: 2030.5\)"),
        (("--server", "a:1", "--pki", "no-such-folder"), "no-such-folder"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_line(words, why):
    """A server without port, another protocol, a folder without authority: exit code 1 and why."""
    answer = CliRunner().invoke(app, ["devices", "run", *words])
    assert answer.exit_code == 1
    assert re.search(why, answer.output), answer.output


def test_serving_needs_certificates():
    """A port without a folder of certificates is refused before anything begins."""
    answer = CliRunner().invoke(app, ["run", "--ieee2030-5", "9443"])
    assert answer.exit_code == 1
    assert "--pki" in answer.output


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("x,111115", r"row 1: lfdi: 'x' \(rule: 40 uppercase hexadecimal digits\)"),
        (f"lfdi,pin\n{'A' * 40},012345", r"row 2: pin: '012345' \(rule: five digits and their check digit\)"),
        (f"{'A' * 40},111115\n{'A' * 40},111115", r"row 2: lfdi: 'A+' again"),
        (f"{'A' * 40}", r"row 1: pin: ''"),
    ],
)
def test_bad_rows_of_pins_are_named(tmp_path, rows, why):
    """A file of PINs with a bad row ends the start: which row, which field, which rule."""
    pins = tmp_path / "pins.csv"
    pins.write_text(rows)
    words = ["run", "--ieee2030-5", "9443", "--pki", tmp_path, "--pins", pins, "--data", tmp_path / "data"]
    answer = CliRunner().invoke(app, list(map(str, words)))
    assert answer.exit_code == 1
    assert re.search(why, answer.output), answer.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--registration", "perhaps"), r"registration: 'perhaps' \(rule: closed, ask, open\)"),
        (("--notify-hosts", "agg.example,https://x"), r"notify-hosts: 'https://x'"),
        (("--pin", "123456"), r"pin: 123456"),
        (("--pins", "no-such-file"), "no-such-file"),
    ],
)
def test_what_cannot_be_served_is_told(tmp_path, words, why):
    """Words that say nothing sound end the start in a line."""
    data = ("--data", str(tmp_path / "data"))
    answer = CliRunner().invoke(app, ["run", "--ieee2030-5", "9443", "--pki", str(tmp_path), *data, *words])
    assert answer.exit_code == 1
    assert re.search(why, answer.output), answer.output


def test_hosts_come_from_words_or_a_file(tmp_path):
    """Names with commas between them, or one in each line of a file, remarks left out."""
    hosts = tmp_path / "hosts"
    hosts.write_text("# partners\nagg.example\n\nvpp.example  # until May\n")
    assert hosts_of(str(hosts)) == ("agg.example", "vpp.example")
    assert hosts_of("agg.example, 192.0.2.1") == ("agg.example", "192.0.2.1")
    assert hosts_of("") == ()


def test_pins_and_policies_of_a_start(tmp_path):
    """A sound file gives every PIN; the word for registration says who may come by itself."""
    pins = tmp_path / "pins.csv"
    pins.write_text(f"LFDI,PIN\n{'A' * 40}, 111115\n{'B' * 40},123455\n")
    assert pins_of(pins) == {"A" * 40: 111_115, "B" * 40: 123_455}
    told = {
        word: (policy.in_band_devices, policy.in_band_sites, policy.approve_at_once)
        for word in ("closed", "ask", "open")
        if (policy := serves(9443, tmp_path, 111_115, word).policy)
    }
    assert told == {
        "closed": (False, False, False), "ask": (True, True, False), "open": (True, True, True),
    }  # fmt: skip


@pytest.mark.parametrize("asked", [False, True])
def test_the_storage_trial_is_read_where_a_start_says_so(tmp_path, monkeypatch, asked):
    """``--csip-aus-trial-storage`` reaches the server's policy; without it the trial is not read."""
    begun = {}
    monkeypatch.setattr("gridflock.console._serve.run", lambda *_, **how: begun.update(how))
    told = ["run", "--data", str(tmp_path), "--ieee2030-5", "9443", "--pki", str(tmp_path)]
    CliRunner().invoke(app, told + asked * ["--csip-aus-trial-storage"], catch_exceptions=False)
    assert begun["serves"].policy.trial_storage is asked
