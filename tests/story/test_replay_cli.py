"""Replay and shadow as people reach them: the command line, over a folder and over HTTP."""

import asyncio
import json

import httpx
import pytest
from typer.testing import CliRunner

from gridflock.console import build
from gridflock.console._cli import app
from gridflock.runtime import Role, Settings, Users, rehearse
from gridflock.sim import Scenario

RUN = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten minutes lived."""
    found = tmp_path_factory.mktemp("cli")
    derms, _ = rehearse(found, Scenario(ders=80, seed=3), Settings(), join_s=64_800)
    for _ in range(10):
        moment = derms.tick()
        derms.clock.sleep_until(moment.now_s + 60)
    derms.close()
    return found


def _ask(*words):
    return RUN.invoke(app, ["replay", *map(str, words)])


def test_the_same_policy_is_told_in_words_and_in_json(folder):
    """Exit code 0, identical, both hashes."""
    told = _ask(folder)
    assert told.exit_code == 0, told.output
    assert "identical" in told.output
    answer = json.loads(_ask(folder, "--json").stdout)
    assert (answer["identical"], answer["ticks"], answer["difference"]) == (True, 10, None)
    assert answer["hash"] == answer["ledger_hash"]


def test_another_policy_from_a_file_and_from_words_with_a_picture(folder, tmp_path):
    """TOML tables and NAME=VALUE; the word of the command line is the last; both curves are drawn."""
    (tmp_path / "other.toml").write_text("plans = true\n[policy]\ndeadband_kw = 50.0\n", "utf-8")
    picture = tmp_path / "head.svg"
    told = _ask(
        folder, "--policy", tmp_path / "other.toml", "--set", "plans=false", "--plot", picture, "--json"
    )
    assert told.exit_code == 0, told.output
    difference = json.loads(told.stdout)["difference"]
    assert difference["changes"] == {"plans": False, "policy": {"deadband_kw": 50.0}}
    assert difference["ticks"] == 10
    assert picture.read_text("utf-8").lstrip().startswith("<?xml")
    shown = _ask(folder, "--set", "plans=false")
    assert "in force" in shown.output
    assert "orders" in shown.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "noon"), "from:"),
        (("--from", "23:00"), "no tick from"),
        (("--set", "nothing=1"), "nothing:"),
        (("--set", "plans"), "NAME=VALUE"),
        (("--set", "policy.deadband_kw=wide"), "policy.deadband_kw:"),
        (("--policy", "missing.toml"), "a TOML file"),
        (("--plot", "head.svg"), "one curve"),
        (("--plot", "head.exe", "--set", "plans=false"), "plot:"),
    ],
)
def test_bad_words_are_named(folder, words, told):
    """Exit code 1, one line with field and rule, no traceback."""
    found = _ask(folder, *words)
    assert found.exit_code == 1
    assert told in found.output
    assert "Traceback" not in found.output


def test_a_folder_without_a_life_is_named(tmp_path):
    """No ledger there: said in words."""
    found = _ask(tmp_path)
    assert found.exit_code == 1
    assert "no ledger" in found.output


def test_a_broken_ledger_is_not_taken_for_a_replay(folder, tmp_path):
    """A flipped byte in what was heard: another hash, or unreadable; exit code not 0."""
    import shutil
    import sqlite3

    copy = shutil.copytree(folder, tmp_path / "copy")
    with sqlite3.connect(copy / "ledger.sqlite") as database:
        row = "select seq, columns from ledger where kind = 'heard' order by seq limit 1 offset 4"
        seq, blob = database.execute(row).fetchone()
        spoilt = blob[:-40] + bytes([blob[-40] ^ 1]) + blob[-39:]
        database.execute("update ledger set columns = ? where seq = ?", (spoilt, seq))
    assert _ask(copy).exit_code != 0


def test_a_shadow_over_http(tmp_path):
    """Started, looked at, stopped; a viewer may look only; what means nothing is refused by field."""
    derms, _ = rehearse(tmp_path, Scenario(ders=80, seed=3), Settings(), join_s=64_800)
    users = Users(tmp_path)
    keys = {role: users.add(role.name.lower(), role) for role in (Role.OPERATOR, Role.VIEWER)}
    derms.tick()

    async def ask(method, role, body=None):
        transport = httpx.ASGITransport(build(derms, users))
        async with httpx.AsyncClient(transport=transport, base_url="http://gridflock") as client:
            headers = {"Authorization": f"Bearer {keys[role]}"}
            return await client.request(method, "/api/shadow", headers=headers, json=body)

    def call(*words):
        return asyncio.run(ask(*words))

    body = {"changes": {"policy.deadband_kw": 9.0}}
    assert call("GET", Role.VIEWER).json()["on"] is False
    assert call("POST", Role.VIEWER, body).status_code == 403
    refused = call("POST", Role.OPERATOR, {"changes": {"policy.nothing": 1}})
    assert (refused.status_code, refused.json()["detail"][0]["field"]) == (422, "policy.nothing")
    assert call("DELETE", Role.OPERATOR).status_code == 404
    assert call("POST", Role.OPERATOR, body).json()["on"] is True
    derms.clock.sleep_until(derms.clock.now_s() + 60)
    derms.tick()
    seen = call("GET", Role.VIEWER).json()
    assert (seen["author"], seen["difference"]["ticks"]) == ("operator", 1)
    assert call("POST", Role.OPERATOR, body).status_code == 422
    assert call("DELETE", Role.OPERATOR).json()["on"] is False
    derms.close()
