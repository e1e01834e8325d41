"""The engineer with a feeder file: read it, look, check, solve, run it through time, estimate."""

import csv
import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app
from gridflock.grid import initial, solve
from gridflock.grid.change import OpenSwitch, apply
from gridflock.runtime import feeder

SMALL = """
clear
new circuit.small basekv=4.16 pu=1.02 r1=0.1 x1=0.5 r0=0.1 x0=0.5 bus1=src
new linecode.a nphases=3 rmatrix=[0.3|0.1 0.3|0.1 0.1 0.3] xmatrix=[0.6|0.2 0.6|0.2 0.2 0.6] units=mi
new line.one bus1=src bus2=mid linecode=a length=1 units=mi normamps=200
new line.two bus1=mid bus2=end linecode=a length=0.5 units=mi normamps=200
new transformer.reg phases=1 windings=2 buses=[end.1 far.1] kvs=[2.4 2.4] kvas=[500 500] xhl=0.5 %loadloss=0.1
new regcontrol.reg transformer=reg winding=2 vreg=120 band=2 ptratio=20
new load.m bus1=mid phases=3 kv=4.16 kw=300 kvar=100
new load.f bus1=far.1 phases=1 kv=2.4 kw=100 kvar=50
set voltagebases=[4.16]
calcvoltagebases
solve
show voltages
"""


@dataclass
class _Told:
    in_: float
    of: list


def _run(*words, code=0):
    """A command's result, which must end with that exit code and never in a stack trace."""
    result = CliRunner().invoke(app, ["feeder", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def _rows(file):
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def master(require, tmp_path):
    """A small OpenDSS feeder of our own in a folder of its own."""
    from gridflock.field import opendss

    require("dss-python (the opendss extra)", opendss.available())
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "master.dss").write_text(SMALL, "utf-8")
    return folder / "master.dss"


def test_a_packed_feeder_is_told_in_numbers():
    """``info`` counts what the network has."""
    told = json.loads(_run("info", "ieee123", "--json").output)
    assert told["branches"]["regulator"] == 7
    assert told["load_kw"] == pytest.approx(3490)
    assert told["dead_buses"] == 0


def test_solving_says_the_same_as_the_library(tmp_path):
    """``solve`` prints the flow's own figures and writes every node, or a plot."""
    table, plot = tmp_path / "v.csv", tmp_path / "v.png"
    told = json.loads(_run("solve", "ieee123", "--load", 0.5, "--out", table, "--json").output)
    network = feeder.read("ieee123")
    flow = solve(network, 0.5 * network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    assert told["converged"]
    assert told["head_kw"] == pytest.approx(flow.head_kva.sum().real, abs=1e-3)
    rows = _rows(table)
    assert len(rows) == network.n
    assert max(float(row["v_pu"]) for row in rows) == pytest.approx(told["v_max_pu"], abs=1e-6)
    _run("solve", "ieee123", "--out", plot)
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_violations_are_rows_with_limit_and_margin():
    """Limits given on the command line are the limits of the rows."""
    rows = json.loads(_run("violations", "ieee123", "--v-high", 1.02, "--json").output)
    high = [row for row in rows if row["kind"] == "voltage_high"]
    assert high
    assert all(row["limit"] == 1.02 and row["margin"] < 0 < row["value"] for row in high)
    assert "no branch 'nowhere'" in _run("violations", "ieee123", "--reverse", "nowhere", code=1).output


def test_a_saved_feeder_is_the_same_feeder(tmp_path):
    """``import`` writes a file that reads back to the same answers."""
    target = tmp_path / "x.gfnet"
    _run("import", "ieee123", target)
    first, again = (json.loads(_run("solve", what, "--json").output) for what in ("ieee123", target))
    assert first == again
    target.write_bytes(target.read_bytes()[:-100])
    assert target.name in _run("info", target, code=1).output


def test_a_series_follows_the_shape_and_names_what_is_wrong_with_it(tmp_path):
    """One column drives all loads; a bad cell and an unknown load are named with line and column."""
    shape, out = tmp_path / "shape.csv", tmp_path / "s.csv"
    shape.write_text("mult\n" + "\n".join(f"{0.3 + 0.1 * (k % 6):.2f}" for k in range(24)) + "\n")
    words = ("series", "ieee123", "--shape", shape, "--hours", 6, "--fixed")
    told = json.loads(_run(*words, "--out", out, "--json").output)
    assert told["converged"] == told["steps"] == 24
    rows = _rows(out)
    assert float(rows[5]["head_kw"]) < float(rows[0]["head_kw"]) < 0
    shape.write_text("mult\n1.0\nhalf\n")
    assert "line 3: mult: expected a finite number" in _run(*words, code=1).output
    shape.write_text("nobody,1a\n1.0,1.0\n")
    assert "column 'nobody'" in _run(*words, code=1).output


def test_an_estimate_from_a_file_of_readings(tmp_path):
    """Readings of a known state give it back; a bad row is named by line and field."""
    network = feeder.read("ieee123")
    _, flow = feeder.solve_once(network, 0.7)
    readings = tmp_path / "r.csv"
    rows = [
        ("port_kw", name, "", s.real, "1%") for name, s in zip(network.loads, flow.served_kva, strict=True)
    ]
    rows += [
        ("port_kvar", name, "", s.imag, "1%") for name, s in zip(network.loads, flow.served_kva, strict=True)
    ]
    rows += [("voltage_pu", "83", "a", flow.v_pu[network.node_row("83", "a")], 0.001)]
    head = "quantity,element,phase,value,sigma\n"
    readings.write_text(head + "".join(",".join(map(str, row)) + "\n" for row in rows))
    words = ("estimate", "ieee123", "--readings", readings, "--load", 0.7)
    told = json.loads(_run(*words, "--json", "--out", tmp_path / "n.csv").output)
    assert told["converged"]
    assert told["v_max_pu"] == pytest.approx(flow.v_pu.max(), abs=1e-3)
    assert not told["bad"]
    assert len(_rows(tmp_path / "n.csv")) == network.n
    readings.write_text(head + "voltage_pu,83,z,1.0,0.01\nport_kw,1a,,x,0.01\nport_kw,1a,,1,0\n")
    output = _run(*words, code=1).output
    assert "line 2: element: no node 83.z" in output
    assert "line 3: value: 'x' is no number" in output
    assert "line 4: sigma" in output


def test_a_master_file_agrees_with_opendss(master, tmp_path):
    """``check`` solves it both ways; what only reports is noted and not run."""
    told = json.loads(_run("check", master, "--json").output)
    assert told["agrees"]
    assert told["max_error_pu"] <= 1e-6
    assert told["lanes_max_error_pu"] <= 2e-5
    assert told["node"].count(".") == 1
    assert any("show" in note for note in told["notes"])
    _run("import", master, tmp_path / "small.gfnet")
    assert json.loads(_run("series", master, "--hours", 2, "--json").output)["converged"] == 8


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("redirect ../../elsewhere.dss", "outside"),
        ("redirect missing.dss", "missing"),
        ("shell rm -rf /", "shell"),
        ("new line.bad bus1=mid bus2=nowhere linecode=b length=1", "b"),
        ("new generator.g bus1=mid kv=4.16 kw=1 model=6 usermodel=x", "usermodel"),
    ],
)
def test_a_file_that_must_not_or_cannot_be_read_is_refused_by_line(master, line, words):
    """Paths outside the root, unknown verbs, missing parts and foreign programs are named."""
    master.write_text(SMALL.replace("set voltagebases", f"{line}\nset voltagebases"), "utf-8")
    output = _run("info", master, code=1).output
    assert words in output
    assert "master.dss:" in output


def test_an_unknown_feeder_is_one_line():
    """A name that is neither a file nor a packed feeder says what would be."""
    assert "no such packed feeder" in _run("info", "ieee999", code=1).output


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("import", "ieee123"), "x.npz"),
        (("import", "ieee123"), "x.json"),
        (("import", "ieee123"), "gfnet"),
        (("solve", "ieee123", "--out"), "x.txt"),
        (("series", "ieee123", "--hours", 8000, "--out"), "x.xlsx"),
        (("estimate", "ieee123", "--readings", "none.csv", "--out"), "x.png"),
    ],
)
def test_a_file_of_another_ending_is_refused_before_anything_is_done(tmp_path, words, name):
    """Only what will be read again by its ending, or drawn, is written; the rule is told, no file is left."""
    output = _run(*words, tmp_path / name, code=1).output
    assert f"{name}: cannot be written (rule: a name that ends in ." in output.replace("\n", "")
    assert not list(tmp_path.iterdir())


def test_what_is_no_plain_file_is_not_replaced(tmp_path):
    """A folder named like a network stays a folder."""
    (tmp_path / "x.gfnet").mkdir()
    assert "is not replaced" in _run("import", "ieee123", tmp_path / "x.gfnet", code=1).output
    assert (tmp_path / "x.gfnet").is_dir()
    assert "out:" in _run("solve", "ieee123", "--out", tmp_path / "none" / "x.csv", code=1).output


@pytest.mark.parametrize("ending", [".dss", ".xml", ".json", ".gfnet"])
def test_a_loop_of_links_is_one_line(require, tmp_path, ending):
    """A feeder file that leads in a circle, as file, as folder or as target, is told in one line."""
    from gridflock.field import opendss

    require("dss-python (the opendss extra)", ending != ".dss" or opendss.available())
    loop = tmp_path / f"a{ending}"
    loop.symlink_to(tmp_path / f"b{ending}")
    (tmp_path / f"b{ending}").symlink_to(loop)
    (tmp_path / "folder").symlink_to(tmp_path / "folder")
    for file in (loop, tmp_path / "folder" / f"c{ending}"):
        assert file.name in _run("info", file, code=1).output
    if ending == ".gfnet":
        _run("import", "ieee123", tmp_path / "folder" / "c.gfnet", code=1)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "", "\0", "[]", "NaN", "\ud800"])
def test_a_document_that_is_none_is_one_line(tmp_path, text):
    """Nested without end, empty, binary, a list: the file is named and nothing else happens."""
    path = tmp_path / "f.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    output = _run("info", path, code=1).output
    assert "f.json" in output
    assert len(output) < 500


def test_what_is_no_number_is_null():
    """In answers NaN and both infinities are null, however deep, and everything else is itself."""
    from gridflock.runtime import plain

    value = {"a": [math.nan, (math.inf, -math.inf, 0.0)], 1: {"b": np.float64("nan"), "c": 1e308}, "d": "nan"}
    told = json.dumps(plain(value), allow_nan=False)
    assert json.loads(told) == {"a": [None, [None, None, 0.0]], "1": {"b": None, "c": 1e308}, "d": "nan"}
    assert plain(_Told(math.nan, [_Told(math.inf, [])])) == {"in": None, "of": [{"in": None, "of": []}]}


def test_commands_answer_with_strict_json(tmp_path):
    """A feeder with an unfed island has absent figures: null, never a word that JSON does not know."""
    path = tmp_path / "open.gfnet"
    feeder.save(apply(feeder.read("ieee123"), OpenSwitch("sw-60-160")), path)
    for words in (("info",), ("solve",), ("violations",), ("series", "--hours", 1, "--fixed")):
        told = _run(words[0], path, *words[1:], "--json", code=0).output
        json.loads(told, parse_constant=pytest.fail)
