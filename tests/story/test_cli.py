"""The command line: every fault is a message that names field, row and rule; nothing is half-written."""

import asyncio
import csv
import json
import shutil
import sqlite3

import httpx
import pytest
from typer.testing import CliRunner

from gridflock.console import _serve, build
from gridflock.console._cli import app
from gridflock.model import Entry
from gridflock.record import RecordReadOnly, open_record
from gridflock.runtime import Derms, Role, Settings, Users, rehearse
from gridflock.sim import Scenario

SMALL = ("--ders", "100", "--seed", "7")
VERBS = [
    "status", "feeder map", "state", "groups", "group show type/battery_home", "resources --limit 3",
    "resources --query kind=load", "doctor", "claims", "timeline", "delivery",
    "watch --looks 1", "events --limit 5", "proposals",
    "propose type/battery_home --p-kw 3 --minutes 5 --why [bold]x --dry-run", "audit verify",
]  # fmt: skip


def _run(*words, code=0):
    """A command's result, which must end with that exit code and never in a stack trace."""
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A sound registry file of 100 DERs, as the product exports it: header and rows."""
    file = tmp_path_factory.mktemp("fleet") / "fleet.csv"
    _run("fleet", "export", file, *SMALL)
    with file.open(newline="") as handle:
        return list(csv.reader(handle))


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """A folder with a few ticks and a proposal, closed again; and its scenario's words."""
    folder = tmp_path_factory.mktemp("life")
    derms, _ = rehearse(folder, Scenario(ders=100, seed=7), Settings(), join_s=50_000)
    for _ in range(3):
        derms.clock.sleep_until(derms.tick().now_s + 60)
    derms.close()
    return folder


def _write(path, table):
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(table)
    return path


def _changed(registry, row, **cells):
    """The table with some cells of a row changed; row 0 is the header."""
    table = [list(line) for line in registry]
    for name, value in cells.items():
        table[row][table[0].index(name)] = value
    return table


# ---- scenarios -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "simulate", "fleet export x.csv"])
@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--day", "2026-13-40"), "day"),
        (("--day", "soon"), "day"),
        (("--day", "0001-01-01"), "day"),
        (("--day", "9999-12-31"), "day"),
    ],
)
def test_a_bad_day_is_named(command, words, field, tmp_path, monkeypatch):
    """No command starts on a day that is none or lies outside the years that are served."""
    monkeypatch.chdir(tmp_path)
    assert f"{field}: " in _run(*command.split(), *words, code=1).stderr
    assert not list(tmp_path.iterdir())


def test_an_unknown_feeder_is_named_with_those_that_are_known(tmp_path, monkeypatch):
    """The message names the field, the rule and the known feeders; nothing is made."""
    monkeypatch.chdir(tmp_path)
    commands = (("run", "--feeder", "x"), ("simulate", "x"), ("fleet", "export", "f.csv", "--feeder", "x"))
    for words in commands:
        told = _run(*words, code=1).stderr
        assert told.startswith("feeder: ")
        assert "ieee123" in told
    assert not list(tmp_path.iterdir())


def test_a_demo_at_no_time_of_day_is_refused():
    """``--start`` wants HH:MM."""
    assert _run("demo", "--start", "25:00", code=1).stderr.startswith("start: ")


def test_a_study_onto_a_file_is_refused_before_it_is_lived(tmp_path):
    """``--out`` that cannot be a folder ends at once, and the file stays as it was."""
    file = tmp_path / "report"
    file.write_text("mine")
    assert _run("simulate", "--out", file, *SMALL, code=1).stderr.startswith("out: ")
    assert _run("simulate", "--out", file / "below", *SMALL, code=1).stderr.startswith("out: ")
    assert file.read_text() == "mine"


# ---- registry files ------------------------------------------------------------------------------


def test_what_is_exported_is_accepted(registry, tmp_path):
    """Every row of an exported registry is taken."""
    answer = json.loads(_run("fleet", "check", _write(tmp_path / "f.csv", registry), "--json").stdout)
    assert answer == {"accepted": len(registry) - 1, "rejected": []}


def test_faulty_rows_are_named_by_line_and_the_good_ones_kept(registry, tmp_path):
    """Bad phase, negative rating, unknown node, duplicate id, surplus cell: line, field, reason; exit 1."""
    table = _changed(registry, 3, phases="x")
    table = (
        _changed(table, 5, s_max_kva="-7") if "s_max_kva" in table[0] else _changed(table, 5, p_max_kw="z")
    )
    table = _changed(table, 7, bus="nowhere")
    table = _changed(table, 9, id=table[8][table[0].index("id")])
    table[10].append("too much")
    file = _write(tmp_path / "f.csv", table)
    answer = json.loads(_run("fleet", "check", file, "--json", code=1).stdout)
    found = {fault["row"]: fault for fault in answer["rejected"]}
    assert set(found) >= {4, 6, 8, 11}
    assert set(found) <= {4, 6, 8, 9, 10, 11}
    assert found[4]["field"] == "phases"
    assert found[8]["field"] == "bus"
    assert {found[at]["field"] for at in (9, 10) if at in found} == {"id"}
    assert all(fault["reason"] for fault in answer["rejected"])
    assert answer["accepted"] == len(registry) - 1 - len(found)
    shown = _run("fleet", "check", file, code=1).stdout
    assert "phases" in shown
    assert "nowhere" in shown


def test_blank_lines_and_a_byte_order_mark_do_not_move_rows(registry, tmp_path):
    """Line numbers are the file's: after blank lines, and after the mark that spreadsheets write."""
    file = _write(tmp_path / "f.csv", _changed(registry, 3, phases="x"))
    lines = file.read_text().splitlines()
    file.write_text("\ufeff" + "\n".join([lines[0], "", "", *lines[1:]]) + "\n", "utf-8")
    answer = json.loads(_run("fleet", "check", file, "--json", code=1).stdout)
    assert [(f["row"], f["field"]) for f in answer["rejected"]] == [(6, "phases")]


def test_rows_of_a_json_file_are_named_by_their_place(registry, tmp_path):
    """The third object of the list is row 3."""
    rows = [dict(zip(registry[0], line, strict=True)) for line in registry[1:]]
    rows[2]["phases"] = "x"
    file = tmp_path / "f.json"
    file.write_text(json.dumps(rows))
    answer = json.loads(_run("fleet", "check", file, "--json", code=1).stdout)
    assert [(f["row"], f["field"]) for f in answer["rejected"]] == [(3, "phases")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("f.csv", b"\xff\xfeid,kind", "not UTF-8"),
        ("f.csv", b'id,kind\n"a,b', "not CSV"),
        ("f.json", b"{", "not JSON"),
        ("f.json", b"[" * 100_000, "not JSON"),
        ("f.json", b"[1]", "expected a list of objects"),
        ("f.json", b'[{"id": ' + b"9" * 5_000 + b"}]", "not JSON"),
        ("f.csv", None, "no such file"),
    ],
)
def test_a_file_that_is_no_registry_is_named_as_a_whole(tmp_path, name, content, reason):
    """Wrong bytes, wrong syntax, wrong shape, no file: one line that says which."""
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    for words in (("fleet", "check", file), ("run", "--data", tmp_path / "d", "--fleet", file, *SMALL)):
        assert reason in _run(*words, code=1).stderr


def test_an_empty_registry_is_not_an_error_of_ours(tmp_path):
    """A header without rows has no fault, and no resource to run a system with."""
    file = tmp_path / "f.csv"
    file.write_text("id,kind\n")
    assert json.loads(_run("fleet", "check", file, "--json").stdout) == {"accepted": 0, "rejected": []}
    assert "at least one" in _run("run", "--data", tmp_path, "--fleet", file, *SMALL, code=1).stderr


def test_an_export_that_cannot_be_written_leaves_nothing(tmp_path):
    """A folder that is missing, a target that is a folder: a message, and no part of a file."""
    for target in (tmp_path / "missing" / "f.csv", tmp_path):
        assert _run("fleet", "export", target, *SMALL, code=1).stderr.startswith("file: ")
    assert not list(tmp_path.iterdir())


# ---- running in a folder -------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """``run`` lives three ticks and serves nobody."""
    monkeypatch.setattr(_serve._Server, "run", lambda *_: None)
    monkeypatch.setattr(_serve, "_first_tick", lambda derms, _: [derms.wait(tick, 20) for tick in range(3)])


@pytest.mark.usefixtures("short")
def test_run_names_refused_rows_and_keeps_the_good(registry, tmp_path):
    """A system that is told a faulty registry says which rows it did not take, how many, and runs."""
    file = _write(tmp_path / "f.csv", _changed(registry, 3, phases="x"))
    words = ("run", "--data", tmp_path / "d", "--fleet", file, "--tick", "60", "--speed", "0", *SMALL)
    result = _run(*words)
    assert "row 4 (" in result.stderr
    assert "phases" in result.stderr
    assert f"1 rows refused, {len(registry) - 2} taken" in result.stderr
    assert "stopped: " in result.stdout


@pytest.mark.usefixtures("short")
def test_a_loop_that_fails_stops_the_server_and_says_why(tmp_path, monkeypatch):
    """The command ends with the failure's own words, not with a server that serves a dead system."""

    def fails(*_):
        raise RuntimeError("the field is gone")

    monkeypatch.setattr(_serve, "_first_tick", lambda _, stop: stop.wait(20))
    monkeypatch.setattr(Derms, "tick", fails)
    result = CliRunner().invoke(app, ["run", "--data", str(tmp_path), "--speed", "0", *SMALL])
    assert result.exit_code == 1
    assert "stopped: the loop failed: RuntimeError: the field is gone" in result.stderr


def test_a_ledger_that_refuses_ends_the_run_in_words(tmp_path, monkeypatch):
    """A record that is not full but broken stops the loop: nothing goes on unrecorded, exit code 1."""

    def refuses(*_):
        raise RecordReadOnly("the file system is read-only")

    monkeypatch.setattr(_serve, "_first_tick", lambda _, stop: (stop.wait(20), monkeypatch.undo()))
    monkeypatch.setattr(Derms, "tick", refuses)
    told = _run("run", "--data", tmp_path, "--speed", "0", *SMALL, code=1).stderr
    assert "stopped: the loop failed: RecordReadOnly: the file system is read-only" in told


def test_a_folder_of_another_scenario_is_not_touched(life):
    """The message says what differs; exit code 1; the folder is as before."""
    before = sorted((path, path.stat().st_size) for path in life.iterdir())
    told = _run("run", "--data", life, "--ders", "101", "--seed", "7", code=1).stderr
    assert "another scenario" in told
    assert "ders is 100, asked 101" in told
    assert sorted((path, path.stat().st_size) for path in life.iterdir()) == before


def test_a_scenario_file_that_was_damaged_is_named(life, tmp_path):
    """Somebody's edit is reported with the file's name."""
    folder = shutil.copytree(life, tmp_path / "copy")
    (folder / "scenario.json").write_text("{")
    assert "scenario.json" in _run("run", "--data", folder, *SMALL, code=1).stderr


def test_a_busy_folder_says_who_holds_it(tmp_path):
    """Two systems never write one folder."""
    record = open_record(tmp_path)
    told = _run("run", "--data", tmp_path, *SMALL, code=1).stderr
    record.close()
    assert "being written by another process (pid " in told


def test_a_data_folder_that_is_a_file_is_refused(tmp_path):
    """A message, no trace."""
    file = tmp_path / "file"
    file.write_text("")
    assert _run("run", "--data", file, *SMALL, code=1).stderr.startswith("data: ")
    _run("users", "add", "anna", "--data", file, code=1)


# ---- the ledger ----------------------------------------------------------------------------------


def test_a_good_ledger_verifies_and_a_tampered_one_names_its_first_broken_record(life, tmp_path):
    """Exit code 0; after one byte of entry 3 and of entry 5 is changed, exit code 2 and entry 3."""
    good = json.loads(_run("audit", "verify", "--data", life, "--json").stdout)
    assert good["ok"]
    folder = shutil.copytree(life, tmp_path / "copy")
    with sqlite3.connect(folder / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE ledger SET time_s = time_s + 1 WHERE seq IN (3, 5)")
    ledger.close()
    bad = json.loads(_run("audit", "verify", "--data", folder, "--json", code=2).stdout)
    assert (bad["ok"], bad["broken_seq"]) == (False, 3)
    assert bad["reason"]
    assert "3" in _run("audit", "verify", "--data", folder, code=2).stdout


def test_no_ledger_is_a_message(tmp_path):
    """An empty folder, and a ledger that is none: exit code 1 with a reason."""
    _run("audit", "verify", "--data", tmp_path, code=1)
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    assert _run("audit", "verify", "--data", tmp_path, code=1).stderr


# ---- users ---------------------------------------------------------------------------------------


def test_users_come_are_listed_and_go(tmp_path):
    """Add prints one token that works; list shows roles and no secret; remove ends it."""
    here = ("--data", tmp_path)
    token = _run("users", "add", "anna", "--role", "viewer", "--group", "section/s1", *here).stdout.strip()
    _run("users", "add", "bert", *here)
    scope = Users(tmp_path).scope(token)
    assert (scope.user, scope.role, scope.groups) == ("anna", Role.VIEWER, frozenset({"section/s1"}))
    listed = _run("users", "list", "--json", *here).stdout
    assert json.loads(listed) == {"anna": "viewer", "bert": "operator"}
    assert token not in (tmp_path / "users.json").read_text()
    _run("users", "remove", "anna", *here)
    assert Users(tmp_path).scope(token) is None
    assert "no user 'anna'" in _run("users", "remove", "anna", *here, code=1).stderr


@pytest.mark.parametrize("name", ["A", "x", "../x", "a b", "local", "gridflock", "a" * 41])
def test_a_name_that_cannot_be_an_author_is_refused(name, tmp_path):
    """Names are plain, and none is the system's own."""
    assert "name " in _run("users", "add", name, "--data", tmp_path, code=1).stderr
    assert not list(tmp_path.iterdir())


def test_an_unknown_role_is_named(tmp_path):
    """The rule lists the roles."""
    told = _run("users", "add", "anna", "--role", "king", "--data", tmp_path, code=1).stderr
    assert "viewer, operator or admin" in told


def test_a_damaged_user_file_is_a_message(tmp_path):
    """Reading, adding and removing name the file."""
    (tmp_path / "users.json").write_text('{"anna": {"role": "KING"}}')
    for words in (("list",), ("add", "bert"), ("remove", "anna")):
        assert "users.json" in _run("users", *words, "--data", tmp_path, code=1).stderr


# ---- talking to a server -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(life, tmp_path_factory):
    """The REST application behind ``httpx.request``, and an operator's token."""
    folder = shutil.copytree(life, tmp_path_factory.mktemp("server") / "life")
    derms, _ = rehearse(folder, Scenario(ders=100, seed=7), Settings())
    derms.tick()
    derms._record.append([Entry("alarm", derms.moment.now_s, {"text": "[/bold] odd [x] text"})])
    derms._collect_events()
    token = Users(folder).add("omar", Role.OPERATOR)
    yield derms, build(derms, Users(folder)), token
    derms.close()


@pytest.fixture
def told(server, monkeypatch):
    """The command line's requests reach the application without a socket."""

    async def answer(call, more):
        transport = httpx.ASGITransport(server[1], raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(*call, **more)

    monkeypatch.setattr(httpx, "request", lambda *call, **more: asyncio.run(answer(call, more)))
    monkeypatch.setenv("GRIDFLOCK_TOKEN", server[2])


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("words", VERBS)
def test_every_verb_prints_json_and_a_table(words):
    """``--json`` parses; without it there is something for people, whatever the texts hold."""
    assert json.loads(_run(*words.split(), "--json").stdout) is not None
    _run(*words.split())


@pytest.mark.usefixtures("told")
def test_a_wish_goes_and_comes_back_by_command():
    """Propose, see it in the list, withdraw it."""
    words = ("propose", "type/battery_home", "--p-kw", "2", "--minutes", "5", "--json")
    name = json.loads(_run(*words).stdout)["proposal"]["id"]
    assert [p["id"] for p in json.loads(_run("proposals", "--json").stdout)] == [name]
    assert json.loads(_run("withdraw", name, "--json").stdout)["id"] == name
    assert "must exist" in _run("withdraw", name, code=1).stderr


@pytest.mark.usefixtures("told")
def test_a_group_and_a_claim_on_it_come_and_go_by_command(tmp_path):
    """Define, change, look, promise, release and delete; people read what scripts parse."""
    place = tmp_path / "place.geojson"
    corners = [[[4.0, 50.0], [6.0, 50.0], [6.0, 54.0]]]
    place.write_text(json.dumps({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": corners}}))
    rule = ("--rule", "family = vehicle", "--inside", "section/s1", "--place", place)
    told = _run("group", "define", "cli/evs", "--child", "type/pv_rooftop", "--member", "wh-0001", *rule)
    assert "1.0.0" in told.stdout
    assert "section/s1" in told.stdout
    changed = json.loads(_run("group", "change", "cli/evs", "--title", "EVs [b]", "--json").stdout)
    assert changed["definition"]["version"] == "1.0.1"
    assert "stale" in _run("group", "change", "cli/evs", "--version", "1.0.0", "--join", "x", code=1).stderr
    shown = json.loads(_run("group", "show", "cli/evs", "--json").stdout)
    assert shown["definition"]["place"] == {"type": "Polygon", "coordinates": corners}
    words = ("claim", "cli/evs", "--kind", "offer", "--down-kw", "0.1", "--owner", "ISO")
    held = json.loads(_run(*words, "--json").stdout)["claim"]["id"]
    assert "9999 kW down" in _run(*words[:4], "--down-kw", "9999", code=1).stderr
    assert held in _run("group", "delete", "cli/evs", code=1).stderr
    assert json.loads(_run("claims", "--json").stdout)[0]["id"] == held
    assert "ISO" in _run("release", held).stdout
    assert "cli/evs" in _run("group", "delete", "cli/evs").stdout
    place.write_text("{")
    assert "GeoJSON" in _run("group", "define", "x", "--place", place, code=1).stderr


@pytest.mark.usefixtures("told")
def test_refusals_are_told_with_field_and_rule(monkeypatch):
    """A faulty wish, an unknown group, and a token nobody knows."""
    told = _run("propose", "nothing", "--p-kw", "1", "--minutes", "-1", code=1).stderr
    assert "group: " in told
    assert "minutes: " in told
    assert "(rule: " in told
    assert "nothing?" in _run("group", "show", "nothing?#", code=1).stderr
    monkeypatch.setenv("GRIDFLOCK_TOKEN", "gf_wrong")
    assert "gridflock users add" in _run("status", code=1).stderr


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp://127.0.0.1", "http://127.0.0.1:99999"]
)
def test_no_server_is_a_message(url):
    """Wherever nobody answers, the address is named."""
    assert url in _run("status", "--url", url, code=1).stderr


def test_a_token_that_no_header_can_hold_is_a_message():
    """Not a stack trace."""
    _run("status", "--url", "http://127.0.0.1:9", "--token", "gf_\u2713", code=1)
