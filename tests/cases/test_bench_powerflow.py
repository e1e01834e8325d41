"""``gridflock bench powerflow``: what it tells, what it refuses, and when a speed does not count."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock import bench
from gridflock.bench import _case, _child, _power_grid_model, _powerflow, _processors
from gridflock.bench._case import SHAPES, Case, daily_shapes, spend
from gridflock.console._cli import app
from gridflock.field import opendss
from gridflock.grid import initial
from gridflock.grid.build import assemble, from_document
from gridflock.sim import feeder_document

PROMISED = {"us_per_flow", "opendss_us_per_flow", "ratio_vs_opendss", "max_error_pu", "year_s"}
DAYS = 10
MASTER = """
clear
new circuit.street basekv=4.16 bus1=s pu=1.02 r1=.05 x1=.2 r0=.05 x0=.2
new line.trunk bus1=s bus2=m length=2 units=km r1=.3 x1=.5 r0=.6 x0=1.6 normamps=300
new transformer.t windings=2 buses=(m l) conns=(wye wye) kvs=(4.16 .48) kvas=(500 500) xhl=4
new transformer.reg phases=1 windings=2 buses=[m.1 far.1] kvs=[2.4 2.4] kvas=[500 500] xhl=0.5 %loadloss=0.1
new regcontrol.reg transformer=reg winding=2 vreg=120 band=2 ptratio=20
new capacitor.bank bus1=m kvar=100 kv=4.16
new load.shops bus1=l kv=.48 kw=150 kvar=50
new load.house bus1=m.2 phases=1 kv=2.4 kw=40 kvar=10
new load.lamps bus1=far.1 phases=1 kv=2.4 kw=60 kvar=20 status=fixed
new monitor.watch element=line.trunk terminal=1
set voltagebases=[4.16 .48]
calcvoltagebases
"""


@pytest.fixture
def master(tmp_path, require, monkeypatch):
    """A small master, and a year of ten days."""
    require("dss-python", opendss.available())
    for module in (_case, _powerflow):
        monkeypatch.setattr(module, "YEAR_STEPS", DAYS * 96)
    path = tmp_path / "street.dss"
    path.write_text(MASTER, "utf-8")
    return path


@pytest.fixture
def small():
    """The packed feeder as a case of 200 quarter-hours."""
    network = from_document(feeder_document("ieee123"))
    shape = np.where(network.load_scaled, np.arange(len(network.loads)) % SHAPES, SHAPES).astype(np.int32)
    multipliers = np.vstack([daily_shapes(200, 0.6, 1), np.ones(200)])
    return Case(network, initial(network), shape, multipliers, 0.6)


def run(*words, code=0):
    """The command's result, which ends with that exit code and never in a stack trace."""
    result = CliRunner().invoke(app, ["bench", "powerflow", "--scenarios", "200", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == code, result.output
    return result


def test_it_tells_what_it_promises(master):
    """Every promised figure, as JSON without NaN; the ratios are those of the times; the answers agree."""
    found = json.loads(run("--feeder", master, "--json").stdout, parse_constant=pytest.fail)
    assert found.keys() >= PROMISED
    assert (found["feeder"], found["nodes"], found["scenarios"]) == ("street", 10, 200)
    assert found["counts"] is True
    assert not found["why_not"]
    assert found["max_error_pu"] <= 2e-5
    assert found["truth_vs_opendss_pu"] <= 1e-6
    assert found["lanes_failed"] == found["year_lanes_failed"] == 0
    ratio = found["opendss_us_per_flow"] / found["us_per_flow"]
    assert found["ratio_vs_opendss"] == pytest.approx(ratio, rel=0.05)
    assert found["us_per_flow_with_setup"] > found["us_per_flow"]
    assert found["ratio_with_setup"] < found["ratio_vs_opendss"]


def test_a_packed_feeder_is_measured_wherever_one_stands(master, monkeypatch):
    """Its master is written to a temporary folder, which no root has to allow."""
    monkeypatch.chdir(master.parent)
    found = bench.powerflow("ieee123", master.parent, 64)
    assert found["nodes"] == 274
    assert found["counts"]


@pytest.mark.parametrize(
    ("limit", "name"), [("COUNTS_PU", "max_error_pu"), ("TRUTH_AGREES_PU", "truth_vs_opendss_pu")]
)
def test_answers_too_far_apart_do_not_count(master, monkeypatch, limit, name):
    """The figures are told, the reason on standard error, and the exit code is 2."""
    monkeypatch.setattr(_powerflow, limit, 0.0)
    result = run("--feeder", master, "--json", code=2)
    found = json.loads(result.stdout)
    assert found["counts"] is False
    assert f"does not count: {found['why_not']}" in result.stderr
    assert f"{name} {found[name]} (rule: at most 0)" in found["why_not"]


def test_what_is_missing_is_within_no_limit(monkeypatch):
    """A lane without voltage makes its figure NaN: it does not count, and JSON says null."""
    figures = {
        "max_error_pu": math.nan, "max_error_prepared_pu": 1e-6, "year_error_pu": 1e-6,
        "truth_vs_reference_pu": 1e-9, "truth_vs_opendss_pu": 1e-9, "lanes_failed": 3, "year_lanes_failed": 0,
    }  # fmt: skip
    why_not = _powerflow._why_not(figures)
    assert why_not == "max_error_pu nan (rule: at most 2e-05); lanes_failed 3 (rule: at most 0)"
    told = {**figures, "counts": False, "why_not": why_not}
    monkeypatch.setattr(bench, "powerflow", lambda *_, **__: told)
    result = run("--json", code=2)
    assert json.loads(result.stdout, parse_constant=pytest.fail)["max_error_pu"] is None


def test_steps_the_rival_does_not_solve_are_no_measurement(master):
    """Far more load than the line can carry: the step is named, no figure is printed, exit code 2."""
    master.write_text(MASTER.replace("kw=150 kvar=50", "kw=13000 kvar=50 vminpu=.3"), "utf-8")
    result = run("--feeder", master, code=2)
    assert "OpenDSS does not solve step" in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--controls"], "controls: feeder 'ieee123' (rule: an OpenDSS master"),
        (["--controls", "--feeder", "x.dss", "--widen"], "controls: together with --widen (rule: alone)"),
        (["--controls", "--against", "power-grid-model"], "with --controls (rule: with opendss only)"),
        (["--widen", "--against", "power-grid-model"], "with --widen (rule: with opendss only)"),
        (["--against", "matlab"], "against: 'matlab' (rule: opendss or power-grid-model)"),
        (["--feeder", "nowhere"], "nowhere"),
        (["--feeder", "nowhere.dss"], "missing file"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(words, told, require):
    """An option that would be left out quietly, and a feeder that is not there, end with exit code 1."""
    require("dss-python", opendss.available())
    result = run(*words, code=1)
    assert told in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("module", "words"), [("dss", []), ("power_grid_model", ["--against", "power-grid-model"])]
)
def test_a_missing_rival_is_an_error(monkeypatch, module, words):
    """Never a figure without the rival: the message says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(_power_grid_model, "as_columns", lambda *_: None)
    result = run(*words, code=1)
    assert "not installed: pip install" in result.stderr


def test_every_repetition_starts_from_a_batch_of_its_own(small, monkeypatch):
    """What a batch keeps of an earlier answer shortens no time."""
    made = []
    batch = Case.batch
    monkeypatch.setattr(Case, "batch", lambda case, *a, **k: made.append(batch(case, *a, **k)) or made[-1])
    room = batch(small).room(200)
    spent = [spend(small, room) for _ in range(3)]
    assert len({id(one) for one in made}) == 3
    assert all(one.solve_s > 0.0 and one.setup_s > 0.0 for one in spent)


# ---- older processors ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("target", ["native", "plain_loops"])
def test_a_process_of_its_own_solves_what_it_is_handed(small, tmp_path, target):
    """Network, positions and scenarios arrive whole: its voltages are those of the float64 truth."""
    _processors._hand_over(small, tmp_path)
    case, checked, truth = _processors.handed_over(tmp_path)
    assert (case.multipliers == small.multipliers).all()
    assert truth.shape == (len(checked), small.network.n)
    found = _child.measured(tmp_path, target)
    assert found["us_per_flow"] > 0.0
    assert found["max_error_pu"] <= 2e-5


def test_each_target_has_its_own_settings_and_cache(small, tmp_path, monkeypatch):
    """Older processors are named with no extra instructions; no two share compiled code."""
    calls = {}

    def instead(words, env, **_):
        calls[words[-1]] = env
        figures = {"us_per_flow": 10.0 * len(calls), "max_error_pu": 1e-6}
        return subprocess.CompletedProcess(words, 0, json.dumps(figures), "")

    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setattr(_processors.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_processors.subprocess, "run", instead)
    found = _processors.on_processors(small, tmp_path)
    assert [calls[name].get("NUMBA_CPU_NAME") for name in calls] == [None, "x86-64-v3", "x86-64-v2", None]
    assert calls["x86_64_v2"]["NUMBA_CPU_FEATURES"] == ""
    assert len({env["NUMBA_CACHE_DIR"] for env in calls.values()}) == 4
    assert found["us_per_flow_native"] == 10.0
    assert found["times_native_x86_64_v2"] == 3.0


def test_a_process_that_fails_is_named(small, tmp_path, monkeypatch):
    """No figure of a processor that could not be tried."""
    monkeypatch.setattr(_processors.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_processors, "CHILD", "gridflock.bench._nowhere")
    with pytest.raises(bench.ProcessorFailed, match=r"native: exit code 1: .*_nowhere"):
        _processors.on_processors(small, tmp_path)


def test_a_process_without_end_is_named(small, tmp_path, monkeypatch):
    """A process that does not answer in time is ended, and said."""
    monkeypatch.setattr(_processors.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_processors, "MOST_S", 0.05)
    with pytest.raises(bench.ProcessorFailed, match=r"native: no answer within 0\.05 s"):
        _processors.on_processors(small, tmp_path)


def test_other_machines_have_no_such_processors(small, tmp_path, monkeypatch):
    """x86-64-v2 and v3 are asked of x86-64 machines alone."""
    monkeypatch.setattr(_processors.platform, "machine", lambda: "arm64")
    with pytest.raises(bench.ProcessorFailed, match=r"arm64 \(rule: an x86-64 machine"):
        _processors.on_processors(small, tmp_path)


@pytest.mark.slow
def test_older_processors_solve_the_same(master, require):
    """Compiled for x86-64-v3 and x86-64-v2 and in plain loops, every voltage stays within 2e-5 pu."""
    require("an x86-64 machine", _processors.platform.machine().lower() in {"x86_64", "amd64"})
    found = bench.powerflow(str(master), None, 200, processors=True)
    for name in _processors.TARGETS:
        assert found[f"us_per_flow_{name}"] > 0.0
        assert found[f"max_error_{name}_pu"] <= 2e-5


# ---- against power-grid-model --------------------------------------------------------------------


def test_power_grid_model_is_told_with_whether_it_counts(monkeypatch):
    """An error above the asked accuracy, on either side, makes the ratio not count: exit code 2."""
    told = {"ratio_vs_pgm": 3.0, "counts": False, "why_not": "max_error_pu 1.00e-03 (rule: at most 1e-06)"}
    monkeypatch.setattr(bench, "against_power_grid_model", lambda *_: told)
    result = run("--against", "power-grid-model", "--json", code=2)
    assert json.loads(result.stdout) == told
    assert "does not count: max_error_pu" in result.stderr


def test_a_rival_that_does_not_converge_is_no_measurement(monkeypatch):
    """power-grid-model without an answer: said, exit code 2."""

    def fails(*_):
        raise ArithmeticError("power-grid-model does not converge at these loads")

    monkeypatch.setattr(bench, "against_power_grid_model", fails)
    result = run("--against", "power-grid-model", code=2)
    assert "does not converge" in result.stderr


def test_networks_of_both_sides_are_one(master):
    """The loads of ours follow the shapes of OpenDSS's; a load of fixed status follows none."""
    rival = opendss.Daily(master, None, daily_shapes(4, 0.6, 1))
    network = assemble(opendss.read_dss(master)[0])
    case = _powerflow._case(network, rival, daily_shapes(4, 0.6, 1), 0.6)
    of = dict(zip(network.loads, case.shape.tolist(), strict=True))
    assert [row for name, row in of.items() if "lamps" in name] == [SHAPES]
    assert len({row for name, row in of.items() if "shops" in name}) == 1
    assert (case.loads.at(2)[case.shape == SHAPES] == network.load_kva[case.shape == SHAPES]).all()
