"""power-grid-model as a second opinion: what it can hold is handed over exactly, what it cannot is named."""

import importlib.util
import sys

import numpy as np
import pytest

from gridflock.bench import _power_grid_model, against_power_grid_model
from gridflock.bench._pgm_columns import as_columns
from gridflock.bench._power_grid_model import ACCURACY_PU, CONSTANT_PU, REFEREE, Rival, compare
from gridflock.field import opendss
from gridflock.grid import Shaped, initial, solve
from gridflock.grid.build import (
    Branch,
    Bus,
    End,
    FeederRejected,
    Parts,
    Port,
    Shunt,
    Source,
    assemble,
    from_document,
)
from gridflock.grid.build._windings import Winding, transformer_block

EXACT_PU = 1e-9
TIED_PU = 1e-7
"""With loads to ground behind a delta winding: power-grid-model ties its zero sequence to ground."""
EUROPEAN_LV = "data/feeders/IEEETestCases/LVTestCase/Master.dss"
ABC = (1, 2, 3)


@pytest.fixture
def rival(require):
    """power-grid-model is installed."""
    require("power-grid-model", importlib.util.find_spec("power_grid_model"))


def document(seed=1, buses=12):
    """A random feeder of our own kind: overhead lines of unequal phases, both transformers, a capacitor."""
    rng = np.random.default_rng(seed)
    r, x = 0.2 + rng.uniform(0, 0.1, (3, 3)), 0.4 + rng.uniform(0, 0.1, (3, 3))
    b = -rng.uniform(0.5, 2.0, (3, 3))
    r, x, b = (
        (m + m.T) / 2 + np.diag(own) for m, own in ((r, [0.3] * 3), (x, [0.6, 0.7, 0.65]), (b, [7.0] * 3))
    )
    place = {"x_ft": 0, "y_ft": 0}
    parents = [int(rng.integers(max(0, k - 3), k)) for k in range(1, buses)]
    lines = [
        {
            "id": f"l{k}", "from": f"m{parent}", "to": f"m{k}", "phases": "abc", "configuration": "c",
            "length_ft": float(rng.uniform(200, 2000)),
        }
        for k, parent in enumerate(parents, start=1)
    ]  # fmt: skip
    transformers = [
        {
            "id": f"t{k}", "from": f"m{k}", "to": f"s{k}", "connection": connection, "kva": 500,
            "r_percent": 1.1, "x_percent": 4.0, "antifloat_ppm": 1000,
        }
        for k, connection in ((buses - 1, "wye-wye"), (buses - 2, "delta-delta"))
    ]  # fmt: skip
    loads = [
        {
            "id": f"load{k}", "bus": bus, "connection": "wye", "model": "pq", "phases": [phase],
            "demand_kw": [float(rng.uniform(5, 60))], "demand_kvar": [float(rng.uniform(0, 20))],
        }
        for k, (bus, phase) in enumerate(
            [(f"m{k}", "abc"[k % 3]) for k in range(1, buses)] + [(f"s{buses - 1}", p) for p in "aab"]
        )
    ]  # fmt: skip
    return {
        "format": "gridflock feeder 1", "name": "random", "latitude": 0.0, "longitude": 0.0,
        "timezone": "UTC", "load_range_pu": [0.51, 1.5],
        "source": {"bus": "m0", "v_pu": 1.02, "r_ohm": 0.02, "x_ohm": 0.1},
        "buses": [{"id": f"m{k}", "kv": 4.16, **place} for k in range(buses)]
        + [{"id": t["to"], "kv": 0.48, **place} for t in transformers],
        "line_configurations": [
            {
                "id": "c", "phases": "abc", "ampacity_a": 400, "r_ohm_mile": r.tolist(),
                "x_ohm_mile": x.tolist(), "b_us_mile": b.tolist(),
            }
        ],
        "lines": lines, "switches": [], "transformers": transformers, "regulators": [],
        "capacitors": [{"id": "cap", "bus": "m3", "phases": "abc", "kvar": [50, 50, 50], "on": True}],
        "loads": loads, "sections": [{"id": "s", "title": "All", "head": "m0"}],
    }  # fmt: skip


def both(network, scenarios=5):
    """Voltages of a few random scenarios by power-grid-model and by our reference path, pu."""
    state = initial(network)
    drawn = np.random.default_rng(2).uniform(0.3, 1.2, (len(network.loads), scenarios))
    loads = Shaped(network.load_kva, np.arange(len(network.loads), dtype=np.int32), drawn)
    rival = Rival(as_columns(network, state))
    theirs = rival.in_our_order(rival.solve(rival.scenarios(loads), REFEREE))
    still = np.zeros(network.n, dtype=complex)
    flows = [solve(network, loads.at(k), still, state, tol=1e-12) for k in range(scenarios)]
    assert all(flow.converged for flow in flows)
    return theirs, np.array([flow.v_pu for flow in flows])


def one_transformer(connections, clocks):
    """A source, a grounded transformer off its nominal ratio, and unequal loads behind it."""
    windings = [
        Winding(connection, kv, 0.6, 1.0 + 0.02 * k, clock)
        for k, (connection, kv, clock) in enumerate(zip(connections, (11000.0, 416.0), clocks, strict=True))
    ]
    ends = tuple(
        End(bus, (1, 2, 3, 0) if connection == "wye" else ABC) for bus, connection in enumerate(connections)
    )
    block = transformer_block(windings, [4.0], kva=250.0, core_pct=(0.2, 0.5), antifloat_ppm=1.0)
    parts = Parts("transformer", buses=[Bus("hv", 11000 / 3**0.5), Bus("lv", 416 / 3**0.5)])
    z = 0.5 + 2.0j
    turns = np.exp(-2j * np.pi / 3 * np.arange(3))
    y = (np.eye(3) / z + (1 / (3 * z + 40 + 9j) - 1 / (3 * z)) * np.ones((3, 3))).astype(complex)
    parts.sources.append(Source("grid", End(0, ABC), 11000 / 3**0.5 * 1.03 * np.exp(0.1j) * turns, y))
    parts.branches.append(Branch("tr", "transformer", ends, block))
    if connections[1] == "delta":
        parts.shunts.append(Shunt("earth", "reactor", End(1, ABC), np.diag([1.0 - 0.5j] * 3)))
    parts.ports += [
        Port(f"load{c}", 1, (c, 0), -complex(10 * c, 3), 240.0, limits=(0.5, 0.51, 1.5)) for c in ABC
    ]
    return assemble(parts)


@pytest.mark.usefixtures("rival")
@pytest.mark.parametrize("seed", range(4))
def test_a_three_phase_feeder_has_the_same_voltages(seed):
    """Unequal line matrices with charging, both transformers and a capacitor: equal to 1e-9 pu."""
    theirs, ours = both(from_document(document(seed)))
    assert np.abs(theirs - ours).max() < EXACT_PU


@pytest.mark.usefixtures("rival")
@pytest.mark.parametrize("clocks", [(0, 1), (0, 3), (0, 5), (0, 7), (0, 9), (0, 11)])
@pytest.mark.parametrize(
    ("connections", "apart_pu"), [(("delta", "wye"), EXACT_PU), (("wye", "delta"), TIED_PU)]
)
def test_delta_wye_transformers_of_every_clock_are_the_same(clocks, connections, apart_pu):
    """Whatever the hours between its windings, with a core at one end: the same voltages."""
    theirs, ours = both(one_transformer(connections, clocks))
    assert np.abs(theirs - ours).max() < apart_pu


@pytest.mark.usefixtures("rival")
@pytest.mark.parametrize("clock", [0, 2, 4, 6, 8, 10])
def test_wye_wye_transformers_of_every_clock_are_the_same(clock):
    """Grounded at both ends, whatever the hours between its windings: equal to 1e-9 pu."""
    theirs, ours = both(one_transformer(("wye", "wye"), (0, clock)))
    assert np.abs(theirs - ours).max() < EXACT_PU


@pytest.mark.usefixtures("rival")
def test_the_comparison_reports_both_sides():
    """On a generated feeder both sides are within 1e-6 pu, and the ratio is that of the times."""
    found = compare(from_document(document()), 48, 0.8, 1)
    assert (found["feeder"], found["nodes"], found["scenarios"]) == ("random", 42, 48)
    assert found["max_error_pu"] <= ACCURACY_PU
    assert found["pgm_max_error_pu"] <= ACCURACY_PU
    assert found["float64_error_pu"] <= 1e-8
    assert found["dtype"] in {"float32", "float64"}
    assert found["method"] in {"iterative_current", "newton_raphson"}
    assert found["ratio_vs_pgm"] == pytest.approx(found["pgm_us_per_flow"] / found["us_per_flow"], rel=0.02)


@pytest.mark.usefixtures("rival")
def test_an_accuracy_nobody_reaches_is_told(monkeypatch):
    """Where no setting comes near enough, the most accurate one is timed and its error stands there."""
    monkeypatch.setattr(_power_grid_model, "ACCURACY_PU", 0.0)
    found = compare(from_document(document(buses=4)), 8, 0.8, 1)
    assert found["dtype"] == "float64"
    assert 0.0 < found["max_error_pu"] < 1e-7


@pytest.mark.usefixtures("rival")
def test_the_european_feeder_has_the_same_voltages(require, shared):
    """907 buses behind a delta-wye transformer, limits widened: our reference path equals it to 1e-9 pu."""
    require("dss-python", opendss.available())
    path = shared / EUROPEAN_LV
    require("the European LV feeder", path.is_file())
    parts, _ = opendss.read_dss(path, shared / "data/feeders", limits=CONSTANT_PU)
    theirs, ours = both(assemble(parts))
    assert np.abs(theirs - ours).max() < EXACT_PU


@pytest.mark.usefixtures("rival")
def test_the_european_feeder_is_compared(require, shared):
    """The lanes are within 1e-6 pu of power-grid-model at every node of every scenario."""
    require("dss-python", opendss.available())
    path = shared / EUROPEAN_LV
    require("the European LV feeder", path.is_file())
    found = against_power_grid_model(str(path), shared / "data/feeders", 48, 0.6, 1)
    assert found["nodes"] == 2721
    assert found["max_error_pu"] <= ACCURACY_PU
    assert found["pgm_max_error_pu"] <= ACCURACY_PU


def edited(**changes):
    """The random feeder with some lists of its document replaced."""
    return {**document(), **changes}


def first(field, **changes):
    """The same with the first element of a list changed."""
    elements = document()[field]
    return edited(**{field: [{**elements[0], **changes}, *elements[1:]]})


@pytest.mark.parametrize(
    ("changed", "name", "field"),
    [
        (first("loads", model="z"), "load0b", "model"),
        (first("loads", connection="delta", phases=["ab"]), "load0ab", "connection"),
        (first("capacitors", kvar=[50, 40, 50]), "cap", "y"),
        (first("capacitors", phases="ab", kvar=[50, 50]), "cap", "phases"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changed, name, field):
    """The first element that power-grid-model cannot hold is named with its field."""
    network = from_document(changed)
    with pytest.raises(FeederRejected) as refused:
        as_columns(network, initial(network))
    assert [(r.ids, r.field) for r in refused.value.rejected] == [((name,), field)]


@pytest.mark.usefixtures("rival")
def test_a_feeder_with_single_phase_laterals_is_refused_by_its_first_bus():
    """IEEE 123 has buses of one phase: the first of them is named before anything is solved."""
    with pytest.raises(FeederRejected, match="bus 2: phases: power-grid-model cannot hold"):
        against_power_grid_model("ieee123", None, 8, 1.0, 1)


def test_a_missing_rival_is_an_error(monkeypatch):
    """Without power-grid-model there is no comparison and no figure."""
    monkeypatch.setitem(sys.modules, "power_grid_model", None)
    with pytest.raises(ImportError, match="power-grid-model is not installed"):
        compare(from_document(document()), 8, 1.0, 1)
