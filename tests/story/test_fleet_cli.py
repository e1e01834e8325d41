"""Registry files, imports, queries and versions from the command line."""

import csv
import json

import duckdb
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app
from gridflock.record import open_record
from gridflock.runtime import Settings, rehearse
from gridflock.sim import Scenario

HEAD = ("id", "kind", "bus", "phases", "p_max_kw", "p_min_kw", "provider", "lfdi")
GOOD = [
    ("sun-1", "pv_rooftop", "12", "b", "6", "", "", "AB" * 20),
    ("cell-1", "battery_home", "13", "c", "5", "-5", "acme", ""),
    ("car-1", "ev_v1g", "13", "c", "", "-7.2", "acme", ""),
]


def _run(*words, code=0):
    """A command's result, which must end with that exit code and never in a stack trace."""
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    return result


def _answer(*words, code=0):
    return json.loads(_run(*words, "--json", code=code).stdout)


def _write(path, *rows, head=HEAD):
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        csv.writer(handle).writerows([head, *rows])
    return path


def _counts(answer):
    return tuple(answer[name] for name in ("rows", "added", "changed", "unchanged", "refused", "resources"))


def test_the_same_file_twice_changes_nothing(tmp_path):
    """The second import adds and changes nothing, and the ledger does not grow."""
    file, data = _write(tmp_path / "f.csv", *GOOD), tmp_path / "data"
    assert _counts(_answer("fleet", "import", file, "--data", data)) == (3, 3, 0, 0, 0, 3)
    assert _counts(_answer("fleet", "import", file, "--data", data)) == (3, 0, 0, 3, 0, 3)
    record = open_record(data, read_only=True)
    assert len(list(record.entries())) == 1
    assert record.verify().ok
    record.close()


def test_good_rows_land_and_bad_ones_are_named(tmp_path):
    """Wrong bytes, control characters, twins, impossible phases and numbers: by row; exit code 1."""
    bad = [
        ("x\udcff", "wind", "12", "a", "1", "", "", ""),
        ("y\x01", "wind", "12", "a", "1", "", "", ""),
        ("sun-1", "wind", "12", "a", "1", "", "", ""),
        ("z1", "wind", "12", "aa", "1", "", "", ""),
        ("z2", "wind", "12", "a", "-1", "", "", ""),
        ("z3", "wind", "12", "a", "nan", "", "", "", "too much"),
    ]
    file = _write(tmp_path / "f.csv", *GOOD, *bad)
    answer = _answer("fleet", "import", file, "--data", tmp_path / "d", code=1)
    assert _counts(answer) == (9, 3, 0, 0, 6, 3)
    told = [(fault["row"], fault["field"], fault["reason"]) for fault in answer["rejected"]]
    assert told[0] == (5, "id", "is not valid UTF-8")
    assert answer["rejected"][0]["id"] == "x\\xff"
    assert "printable" in told[1][2]
    assert told[2] == (7, "id", "is a duplicate; the first row of that id is kept")
    assert told[3][:2] == (8, "phases")
    assert told[4] == (9, "p_max_kw", "-1 kW is outside [0, 10000] kW")
    assert [line[1] for line in told[5:]] == ["(surplus cell)", "p_max_kw"]
    assert sum(fault["count"] for fault in answer["faults"]) == len(told)
    shown = _run("fleet", "import", file, "--data", tmp_path / "d", code=1).stdout
    assert "9 rows, 0 added, 0 changed, 3 unchanged, 6 refused, 3 resources" in shown
    assert "1 refused: p_max_kw: is outside [0, 10000] kW" in shown


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_every_form_of_a_file_says_the_same(tmp_path, ending):
    """CSV, JSON, JSON lines and Parquet give one registry, and name a bad row by its place."""
    rows = [{name: cell for name, cell in zip(HEAD, line, strict=True) if cell} for line in GOOD]
    rows.append({"id": "odd", "kind": "wind", "bus": "12", "phases": "a", "p_max_kw": "much"})
    file = tmp_path / f"f.{ending}"
    if ending == "json":
        file.write_text(json.dumps(rows, indent=1))
    elif ending == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        values = [[row.get(name) for name in HEAD] for row in rows]
        with duckdb.connect() as connection:
            connection.execute(f"create table t ({', '.join(f'{name} varchar' for name in HEAD)})")
            connection.executemany(f"insert into t values ({', '.join('?' * len(HEAD))})", values)
            connection.execute(f"copy t to '{file}' (format parquet)")
    answer = _answer("fleet", "import", file, "--data", tmp_path / "d", code=1)
    assert _counts(answer) == (4, 3, 0, 0, 1, 3)
    assert [(f["row"], f["id"], f["field"]) for f in answer["rejected"]] == [(4, "odd", "p_max_kw")]
    again = _answer("fleet", "import", _write(tmp_path / "f.csv", *GOOD), "--data", tmp_path / "d")
    assert _counts(again) == (3, 0, 0, 3, 0, 3)


def test_lines_that_are_no_objects_are_rows_with_a_fault(tmp_path):
    """In JSON lines a broken line costs that line alone."""
    file = tmp_path / "f.jsonl"
    good = json.dumps({"id": "a", "kind": "wind", "bus": "1", "phases": "a"})
    file.write_bytes(b'{"id": \n\n[1]\n' + good.encode() + b'\n{"id": "\xff"}\n')
    answer = _answer("fleet", "import", file, "--data", tmp_path / "d", code=1)
    assert _counts(answer) == (4, 1, 0, 0, 3, 1)
    assert {(f["row"], f["field"]) for f in answer["rejected"]} >= {(1, "(line)"), (3, "(line)"), (5, "id")}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("f.csv", b"id,id\na,b\n", "names id twice"),
        ("f.csv", b"\xff\nx\n", "not UTF-8"),
        ("f.csv", b'id\n"a\n', "not CSV"),
        ("f.json", b'[{"id": "a"} {"id": "b"}]', "not JSON"),
        ("f.json", b'[{"id": "a"},\n{"id" "b"}]', "line 2: not JSON"),
        ("f.json", b'[{"id": "a"}] x', "not JSON"),
        ("f.json", b'[{"id": "a"}', "not JSON"),
        ("f.json", b"", "not JSON"),
        ("f.parquet", b"PAR1", "not Parquet"),
        ("f*.parquet", b"PAR1", "without *"),
    ],
)
def test_a_file_broken_as_a_whole_changes_nothing(tmp_path, name, content, reason):
    """One line says what is wrong with the file, and the registry stays as it was."""
    file, data = tmp_path / name, tmp_path / "d"
    _run("fleet", "import", _write(tmp_path / "good.csv", *GOOD), "--data", data)
    file.write_bytes(content)
    assert reason in _run("fleet", "import", file, "--data", data, code=1).stderr
    assert _run("fleet", "query", "p_max_kw >= 0", "--count", "--data", data).stdout == "3\n"


def test_a_query_lists_counts_and_writes(tmp_path):
    """Resources by any attribute: as a table, as a count, as JSON, and as CSV that can be imported again."""
    data = tmp_path / "d"
    _run("fleet", "import", _write(tmp_path / "f.csv", *GOOD), "--data", data)
    ask = ("fleet", "query", "provider = acme and p_min_kw < -5.5", "--data", data)
    found = _answer(*ask)
    assert [(row["id"], row["kind"], row["phases"], row["p_min_kw"]) for row in found] == [
        ("car-1", "ev_v1g", "c", -7.2)
    ]
    assert found[0]["lat_deg"] is None
    assert _answer(*ask, "--count") == {"count": 1}
    assert "1 of 3 resources" in _run(*ask).stdout
    written = tmp_path / "again.csv"
    written.write_text(_run("fleet", "query", "p_max_kw >= 0", "--csv", "--data", data).stdout)
    assert _counts(_answer("fleet", "import", written, "--data", data)) == (3, 0, 0, 3, 0, 3)
    asked = ("fleet", "query", "kind = wind", "--count", "--file", written)
    assert _run(*asked).stdout == "0\n"
    assert "character 6: expected '='" in _run("fleet", "query", "kind ~ x", "--data", data, code=1).stderr
    assert "data: " in _run("fleet", "query", "kind = wind", "--data", tmp_path / "none", code=1).stderr


def test_a_setting_is_shown_as_it_was(tmp_path):
    """Versions with author and moment; the registry as of any moment; what is not named stays."""
    data = tmp_path / "d"
    words = ("--data", data, "--author", "ann", "--from")
    _run("fleet", "import", _write(tmp_path / "f.csv", *GOOD), *words, "2026-01-01")
    lower = [("id", "kind", "bus", "phases", "p_max_kw"), ("cell-1", "battery_home", "13", "c", "3")]
    answer = _answer(
        "fleet", "import", _write(tmp_path / "g.csv", lower[1], head=lower[0]), *words, "2026-03-01"
    )
    assert (answer["changed"], answer["attributes"]) == (1, {"p_max_kw": 1})
    then = _answer("fleet", "show", "cell-1", "--data", data, "--as-of", "2026-02-01T00:00")
    now = _answer("fleet", "show", "cell-1", "--data", data, "--as-of", "2026-03-01T00:00Z")
    assert (then["attributes"]["p_max_kw"], now["attributes"]["p_max_kw"]) == (5.0, 3.0)
    assert now["attributes"]["provider"] == "acme"
    told = [
        (v["from"], v["attribute"], v["old"], v["new"], v["author"], v["source"]) for v in now["versions"]
    ]
    assert told == [
        ("2026-01-01T00:00:00Z", "id", None, "cell-1", "ann", "f.csv"),
        ("2026-03-01T00:00:00Z", "p_max_kw", 5.0, 3.0, "ann", "g.csv"),
    ]
    assert _answer("fleet", "show", "cell-1", "--data", data, "--as-of", "2025-01-01")["attributes"] is None
    assert "no resource 'x'" in _run("fleet", "show", "x", "--data", data, code=1).stderr
    assert "as-of: 'soon'" in _run("fleet", "show", "x", "--data", data, "--as-of", "soon", code=1).stderr
    early = _answer("fleet", "import", tmp_path / "g.csv", *words, "2025-01-01", code=1)
    assert (early["changed"], early["refused"]) == (0, 1)
    assert early["rejected"][0]["field"] == "valid_s"


def test_a_rehearsed_folder_takes_up_what_was_imported(tmp_path):
    """After a restart the system knows the new setting; before it, nobody else may write."""
    scenario = Scenario(ders=60, seed=7)
    derms, world = rehearse(tmp_path, scenario, Settings(), join_s=50_000)
    derms.tick()
    row = dict(next(row for row in world.registry if row["kind"] == "BATTERY_HOME"))
    file = _write(tmp_path / "f.csv", tuple({**row, "p_max_kw": 1.5}.values()), head=tuple(row))
    assert "data: " in _run("fleet", "import", file, "--data", tmp_path, code=1).stderr
    derms.close()
    answer = _answer("fleet", "import", file, "--data", tmp_path)
    assert (answer["added"], answer["changed"], answer["attributes"]) == (0, 1, {"p_max_kw": 1})
    again, _ = rehearse(tmp_path, scenario, Settings())
    fleet = again._loop.system.fleet
    assert fleet.columns["p_max_kw"][fleet.row_of[row["id"]]] == 1.5
    assert len(fleet.ids) == answer["resources"]
    again.tick()
    again.close()
