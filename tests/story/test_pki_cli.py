"""An operator makes a test network's certificates on the command line."""

import json
import stat

import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app

TYPE = "1.3.6.1.4.1.99999.1"


@pytest.fixture
def say():
    """``say(words)``: run a command, give its exit code, and its answer."""

    def _run(*words):
        done = CliRunner().invoke(app, ["pki", *map(str, words)])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.output

    return _run


@pytest.fixture
def folder(tmp_path, say):
    """An authority with a server, an aggregator and two devices."""
    folder = tmp_path / "pki"
    assert say("init", folder, "--name", "North")[0] == 0
    assert say("issue-service", folder, "utility", "--host", "utility.example")[0] == 0
    assert say("issue-service", folder, "aggregator", "--host", "agg.example", "--days", 30)[0] == 0
    assert say("issue-device", folder, "pv", "--serial", "S", "--type", TYPE, "--count", 2)[0] == 0
    return folder


def test_what_was_issued_is_shown(folder, say):
    """Every certificate with its identifiers, as lines and as JSON; keys are their owner's."""
    code, text = say("show", folder, "--json")
    rows = json.loads(text)
    assert code == 0
    assert [(row["name"], row["role"]) for row in rows] == [
        ("utility", "service"),
        ("aggregator", "service"),
        ("pv-1", "device"),
        ("pv-2", "device"),
    ]
    lines = say("show", folder)[1].splitlines()
    assert [line.split()[0] for line in lines] == [row["lfdi"] for row in rows]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("issued/*/key.pem")}
    assert modes == {0o600}


def test_a_sound_certificate(folder, say):
    """Its identifiers and no fault; the same as JSON."""
    file, trust = folder / "issued/pv-1/chain.pem", folder / "trust.pem"
    code, text = say("show", file, "--trust", trust, "--json")
    found = json.loads(text)
    assert code == 0
    assert (found["role"], found["hardware"], found["chain"], found["trusted"]) == (
        "device", f"{TYPE} S-1", 4, True,
    )  # fmt: skip
    assert found["broken"] == []
    assert say("show", file, "--trust", trust)[0] == 0


def test_an_unsound_certificate(folder, say, tmp_path):
    """Every rule broken is named, and the command ends with 1."""
    other = tmp_path / "other"
    say("init", other, "--name", "South", "--production", "--length", 2)
    file = folder / "issued/pv-1/chain.pem"
    code, text = say("show", file, "--trust", other / "trust.pem", "--production")
    assert code == 1
    assert "leaf: not kept: a test certificate is used in tests only" in text
    assert "chain: not kept: it leads to a trusted authority" in text


def test_replaced_and_taken_back(folder, say):
    """A rotated certificate stands beside the old one; a revoked one stays listed with its reason."""
    assert say("rotate", folder, "pv-1")[0] == 0
    assert say("revoke", folder, "pv-1", "--reason", "stolen")[0] == 0
    rows = {row["name"]: row for row in json.loads(say("show", folder, "--json")[1])}
    assert rows["pv-1.2"]["replaces"] == "pv-1"
    assert (rows["pv-1"]["reason"], rows["pv-1"]["revoked"] is None) == ("stolen", False)
    assert "replaces pv-1" in say("show", folder)[1]


def test_refusals_name_every_rule(folder, say, tmp_path):
    """Wrong names, lengths, hosts, types, folders and files: each is said on a line of its own."""
    code, text = say("init", folder, "--name", "No rth", "--length", 9)
    assert code == 1
    assert [line.split(":")[0] for line in text.splitlines()] == ["name", "length", "folder"]
    code, text = say("issue-service", folder, "utility", "--host", "no host", "--days", 0)
    assert code == 1
    assert {line.split(":")[0] for line in text.splitlines()} == {"name", "hosts", "days"}
    code, text = say("issue-device", folder, "x/y", "--serial", "", "--type", "1.2.x", "--kind", "odd")
    assert code == 1
    assert {line.split(":")[0] for line in text.splitlines()} == {"name", "hardware", "kind"}
    for words in (
        ("revoke", folder, "nobody", "--reason", "x"),
        ("rotate", tmp_path / "nothing", "x"),
        ("show", tmp_path / "nothing.pem"),
        ("show", folder / "register.json"),
    ):
        assert say(*words)[0] == 1


def test_an_empty_authority(say, tmp_path):
    """Nothing issued is said, not shown as nothing."""
    folder = tmp_path / "pki"
    code, text = say("init", folder, "--name", "North", "--json")
    assert (code, json.loads(text)["kind"]) == (0, "test")
    assert "nothing issued yet" in say("show", folder)[1]


def test_the_missing_extra_is_named(say, tmp_path, monkeypatch):
    """Without the libraries the command says what to install."""
    import sys

    for name in [name for name in sys.modules if name.startswith("gridflock.field.ieee2030_5.identity")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    code, text = say("init", tmp_path / "pki", "--name", "North")
    assert code == 1
    assert "gridflock[ieee2030_5]" in text
