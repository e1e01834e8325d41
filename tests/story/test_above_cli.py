"""``gridflock above``, ``standing`` and ``direct``: what is wrong is said in words, and rounds are shown."""

import asyncio
import json
import socket

import httpx
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from gridflock.console import build
from gridflock.console._above_life import Asked, begun
from gridflock.console._cli import app
from gridflock.console._middle import served
from gridflock.field.peer import directive_said
from gridflock.model import Allowance, Directive
from gridflock.runtime import Role, Settings, Users, rehearse
from gridflock.sim import Scenario
from gridflock.units import TimeGrid

DEFAULT = (-900.0, 500.0)
NOBODY = "http://127.0.0.1:9"


def run(*words, code=0):
    """A command's result, which must end with that exit code and never in a stack trace."""
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def words(tmp_path):
    """A sound call above two that nobody answers for."""
    tokens = tmp_path / "tokens"
    tokens.write_text("north=gf_a\n\nsouth=gf_b\n")
    tokens.chmod(0o600)
    return {
        "--child": [f"north={NOBODY}", f"south={NOBODY}"],
        "--default": ["north=-10:5", "south=-10:5"],
        "--token-file": [tokens],
        "--import-limit": [120],
        "--export-limit": [70],
        "--data": [tmp_path / "above"],
        "--rounds": [1],
    }


def called(words, *more, code=0):
    """The command with these words."""
    flat = [piece for name, values in words.items() for value in values for piece in (name, value)]
    return run("above", *flat, *more, code=code)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"--default": ["north=-10:5"]}, "default: none for south"),
        ({"--default": ["north=-10:5", "south=-10:5", "west=0:1"]}, "child: west"),
        ({"--default": ["north=5:-10", "south=-10:5"]}, "default: '5:-10'"),
        ({"--default": ["north=-70:5", "south=-70:5"]}, "defaults add up to -140 kW beyond the limit"),
        ({"--rating": ["north=-5:5"]}, "within the rating"),
        ({"--child": ["north", f"south={NOBODY}"]}, "child: 'north' is not NAME=VALUE"),
        ({"--child": ["north=http://example.org", f"south={NOBODY}"]}, "over https only"),
        ({"--token-file": ["nowhere"]}, "token-file: nowhere cannot be read"),
        ({"--reserve": [65]}, "defaults add up to 10 kW beyond the limit of 5 kW"),
    ],
)
def test_what_cannot_be_begun_is_said_with_field_and_rule(changes, told, words):
    """Exit code 1, one line, nothing said to anybody."""
    assert told in called(words | changes, code=1).stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"--name": ["west"]}, "name: a system in the middle has a name and a default"),
        ({"--default-kw": ["-25:12"]}, "name: a system in the middle has a name and a default"),
        ({"--name": ["west"], "--default-kw": ["12:-25"]}, "default-kw: '12:-25'"),
        ({"--name": ["west"], "--default-kw": ["-15:12"]}, "default_kw: defaults add up to -20 kW beyond"),
    ],
)
def test_a_middle_that_cannot_be_begun_is_said_with_field_and_rule(changes, told, words):
    """It has a name and a default into which the defaults below fit."""
    assert told in called(words | changes, code=1).stderr


def test_a_system_in_the_middle_is_reached_from_above(words, tmp_path):
    """With an account of its folder only; what it is told is in its rounds; a taken port is named."""
    asked = Asked(
        words["--child"], words["--default"], [], words["--token-file"][0], (-120.0, 70.0), 0.0,
        tmp_path / "west", 10.0, 5, False, ("west", "-25:12"), _free_port(),
    )  # fmt: skip
    life, users = begun(asked), Users(tmp_path / "west")
    token = users.add("utility", Role.OPERATOR)
    with served(life, users, asked.port):
        where = f"http://127.0.0.1:{asked.port}"
        with httpx.Client(base_url=where, headers={"Authorization": f"Bearer {token}"}) as client:
            assert httpx.get(f"{where}/api/standing").status_code == 401
            assert client.get("/api/standing").status_code == 429  # nobody below has been asked yet
            assert life.round().allowed_kw == (-25.0, 12.0)
            told = client.get("/api/standing").json()
            grid = TimeGrid.uniform(told["at_s"], 900, 3)
            bounds = Allowance(grid, np.full(3, -80.0), np.full(3, 40.0), (-25.0, 12.0))
            said = Directive(
                "west", told["at_s"], 1, told["at_s"] + 60, bounds, np.full(3, np.nan), np.zeros(3)
            )
            assert client.post("/api/directive", json=directive_said(said)).json()["number"] == -1
            refused = client.post("/api/directive", json=directive_said(said) | {"child": "east"})
            assert refused.json()["detail"][0]["field"] == "child"
        assert life.round().allowed_kw == (-80.0, 40.0)
        taken = served(life, users, asked.port)
        with pytest.raises(typer.Exit):
            taken.__enter__()
    life.close()
    more = {"--name": ["west"], "--default-kw": ["-25:12"], "--port": [_free_port()]}
    assert "-25.0 to 12.0 kW allowed from above" in " ".join(called(words | more).stdout.split())


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_tokens_that_others_may_read_or_that_lack_are_refused(words):
    """The file is its owner's alone and has a line for each."""
    tokens = words["--token-file"][0]
    tokens.chmod(0o644)
    assert "chmod 600" in called(words, code=1).stderr
    tokens.chmod(0o600)
    tokens.write_text("north=gf_a\n")
    assert "no token for south" in called(words, code=1).stderr


def test_rounds_are_told_as_lines_and_as_a_table_though_nobody_answers(words):
    """Each system's trouble is beside its name; what all may come to together is counted at its worst."""
    look = json.loads(called(words, "--json").stdout)
    assert look["limit_kw"] == [-120.0, 70.0]
    assert look["may_kw"] == [-240.0, 140.0]
    assert [child["name"] for child in look["children"]] == ["north", "south"]
    assert all("ConnectError" in child["trouble"] for child in look["children"])
    shown = called(words).stdout
    assert "north" in shown
    assert "together" in shown
    told = called(words, "--follow-clock", code=1).stderr
    assert "nobody tells the time: north" in told


def test_a_busy_folder_is_named(words):
    """Two systems above never write one ledger."""
    from gridflock.record import open_record

    record = open_record(words["--data"][0])
    assert "being written by another process" in called(words, code=1).stderr
    record.close()


def test_a_default_power_that_is_none_is_named(tmp_path):
    """``gridflock run`` begins nothing."""
    told = run("run", "--data", tmp_path, "--default-kw=5:1", code=1).stderr
    assert told.startswith("default-kw: '5:1'")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A small running system behind the command line's requests; its moment."""
    settings = Settings(name="north", default_kw=DEFAULT, in_ac=False)
    derms, _ = rehearse(tmp_path, Scenario(ders=20, seed=3), settings, join_s=50_000)
    derms.tick()
    application = build(derms, Users(tmp_path))

    async def answer(call, more):
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(*call, **more)

    monkeypatch.setattr(httpx, "request", lambda *call, **more: asyncio.run(answer(call, more)))
    monkeypatch.setenv("GRIDFLOCK_TOKEN", Users(tmp_path).add("utility", Role.OPERATOR))
    yield derms.moment.now_s
    derms.close()


def test_a_directive_is_given_by_hand_and_the_standing_shown(told, tmp_path):
    """From a file; a table for people, the document for scripts; faults by field."""
    grid = TimeGrid.uniform(told, 900, 3)
    bounds = Allowance(grid, np.full(3, -800.0), np.full(3, 400.0), DEFAULT)
    said = Directive("north", told, 1, told + 60, bounds, np.full(3, np.nan), np.zeros(3))
    file = tmp_path / "directive.json"
    file.write_text(json.dumps(directive_said(said)))
    assert "no directive yet" in run("standing").stdout
    answer = json.loads(run("direct", file, "--json").stdout)
    assert (answer["child"], answer["number"]) == ("north", -1)
    assert [low <= -800.0 for low in answer["kept"]["lo_kw"]] == [True] * 3
    assert "-900" in run("direct", file).stdout
    file.write_text(json.dumps(directive_said(said) | {"child": "south"}))
    assert "child: is for 'south', not for 'north'" in run("direct", file, code=1).stderr
    file.write_text("[1]")
    assert "holds no object" in run("direct", file, code=1).stderr
    file.write_text("{")
    assert "no JSON file" in run("direct", file, code=1).stderr
