"""The IEEE 123-node feeder against published figures and against solvers that are not ours."""

import copy
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import gridflock
from gridflock.field import opendss
from gridflock.grid import ControlState, initial, settle, solve
from gridflock.grid.build import from_document

sys.path.insert(0, str(Path(__file__).parent))
referee = importlib.import_module("dss_referee")

CASES = Path(__file__).parent / "powerflow"
DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
DSS_TAPS = {"reg1a": 7, "reg2a": -1, "reg3a": 0, "reg3c": -1, "reg4a": 8, "reg4b": 1, "reg4c": 5}
"""The published taps by the names of the regulators in the .dss files."""


def case(name):
    """Expected voltages of a case, and the network and flow they are to be compared with."""
    expected = json.loads((CASES / name / "expected.json").read_text("utf-8"))
    params = CASES / name / "params.json"
    document = as_in_dss(json.loads(params.read_text("utf-8"))) if params.exists() else DOCUMENT
    network = from_document(document)
    assert dict(zip(network.regulators.ids, network.regulators.tap.tolist(), strict=True)) == expected["taps"]
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    assert flow.converged
    return expected, network, flow


def as_in_dss(params):
    """Our document with what the .dss file says differently."""
    document = copy.deepcopy(DOCUMENT)
    for line in document["lines"]:
        line["length_ft"] = params["length_ft"].get(line["id"], line["length_ft"])
    for load in document["loads"]:
        if load["connection"] == "wye" and load["id"] not in params["three_phase_wye_loads"]:
            load["rated_v"] = params["wye_single_phase_rated_v"]
    for shunt in document["capacitors"]:
        rated = params["capacitor_rated_v"].get(shunt["id"])
        if rated:
            shunt["kvar"] = [q * 4160**2 / 3 / rated**2 for q in shunt["kvar"]]
    return document


def rows(network, nodes):
    """Node rows of ``bus.phase`` names."""
    return [network.node_row(*name.rsplit(".", 1)) for name in nodes]


def test_document_has_the_published_totals():
    """3,490 kW and 1,920 kvar of spot loads, 750 kvar of capacitors, by phase as published."""
    network = from_document(DOCUMENT)
    assert network.load_kva.sum() == pytest.approx(-(3490 + 1920j))
    bases = network.v_base[network.shunt_blocks.node]
    y = np.concatenate([np.diag(network.shunt_blocks.block(k)) for k in range(len(network.shunts))])
    assert (y.imag * bases**2).sum() == pytest.approx(750e3)
    first_phase = network.node_phase[network.load_nodes[:, 0]]
    by_phase = [network.load_kva[first_phase == p].sum() for p in range(3)]
    assert by_phase == pytest.approx([-(1420 + 775j), -(915 + 515j), -(1155 + 630j)])
    assert len(network.loads) == 95
    assert network.n == 274


@pytest.mark.parametrize(("name", "base"), [("ieee123_published", 1.0), ("ieee123_gridlabd", 4160 / 3**0.5)])
def test_voltages_at_published_taps(name, base):
    """Magnitude and angle within the case's tolerance at every node it lists."""
    expected, network, flow = case(name)
    nodes = expected["nodes"]
    magnitude, angle = np.array(list(nodes.values())).T
    wanted = magnitude / base * np.exp(1j * np.radians(angle))
    found = flow.v[rows(network, nodes)] / network.v_base[rows(network, nodes)]
    assert np.abs(np.abs(found) - np.abs(wanted)).max() < expected["tolerance_pu"]
    assert np.abs(found - wanted).max() < expected["tolerance_pu"]


def test_voltages_equal_opendss_on_its_own_files():
    """All 274 nodes equal the stored OpenDSS solution to 1e-6 pu, its load law at the edges included."""
    expected, network, flow = case("ieee123_opendss")
    nodes = expected["nodes"]
    assert len(nodes) == network.n
    wanted = np.array([complex(*v) for v in nodes.values()])
    at = rows(network, nodes)
    assert (np.abs(flow.v[at] - wanted) / network.v_base[at]).max() < expected["tolerance_pu"]


def test_the_stored_opendss_solution_is_reproduced(require, shared, tmp_path):
    """OpenDSS run now on the given .dss file gives the stored voltages; the working directory stays."""
    require("dss-python (the opendss extra)", opendss.available())
    before = Path.cwd()
    feeders = referee.copied(shared / "data/feeders/IEEETestCases", tmp_path)
    found = referee.judged(feeders / "123Bus/IEEE123Master.dss", DSS_TAPS).volts
    assert Path.cwd() == before
    expected, network, _ = case("ieee123_opendss")
    for name, (real, imag) in expected["nodes"].items():
        bus, phase = name.rsplit(".", 1)
        base = network.v_base[network.node_row(bus, phase)]
        assert abs(found[f"{bus}.{'abc'.index(phase) + 1}"] - complex(real, imag)) / base < 1e-6


def random_series(network, steps, spread):
    """Loads, injections, taps and capacitor states over some steps; changed half-way."""
    rng = np.random.default_rng(7)
    load = network.load_kva * rng.uniform(0.1, spread, (steps, len(network.loads)))
    inject = rng.normal(0, 4, (steps, network.n)) + 1j * rng.normal(0, 2, (steps, network.n))
    taps = np.tile(network.regulators.tap, (steps, 1))
    taps[steps // 2 :, 0] = -8
    taps[steps // 3 :, 4] = 14
    caps = np.tile(network.capacitors.on, (steps, 1))
    caps[2 * steps // 3 :, 0] = False
    return load, inject, taps, caps


def test_referee_agrees_with_our_solver(require):
    """Our network written for OpenDSS, perturbed impedances: the same voltages to 1e-6 pu over a series.

    Loads are driven below 0.95 and above 1.05 pu; taps and a capacitor move in between; injections
    stand at every node, phase to phase behind the delta winding.
    """
    require("dss-python (the opendss extra)", opendss.available())
    network = from_document(DOCUMENT)
    factors = np.random.default_rng(3).uniform(0.9, 1.1, len(network.branches))
    network = network.with_impedance_factors(factors)
    load, inject, taps, caps = random_series(network, 24, 1.5)
    judged = opendss.Referee(network).solve_series(load, inject, taps, caps)
    seen = []
    for step in range(len(load)):
        state = ControlState(taps[step], caps[step], initial(network).pending_since_s)
        flow = solve(network, load[step], inject[step], state)
        assert flow.converged
        seen.append(flow.v_pu)
        assert (np.abs(flow.v - judged[step]) / network.v_base).max() < 1e-6
    assert np.min(seen) < 0.93
    assert np.max(seen) > 1.07


@pytest.mark.parametrize("model", ["pq", "i", "z"])
def test_load_law_at_its_edges(require, model):
    """Just inside and outside 0.95, 1.05 and 0.5 pu a load draws what the same load draws in OpenDSS."""
    require("dss-python (the opendss extra)", opendss.available())
    for pu in (0.3, 0.499, 0.501, 0.7, 0.949, 0.951, 1.0, 1.049, 1.051, 1.3):
        document = {**DOCUMENT, "source": {**DOCUMENT["source"], "v_pu": pu}}
        document["loads"] = [
            {**load, "model": model} for load in DOCUMENT["loads"] if load["bus"] in {"1", "35"}
        ]
        network = from_document(document)
        state = initial(network, published=False)
        none = np.zeros((1, network.n), dtype=complex)
        judged = opendss.Referee(network).solve_series(
            network.load_kva[None], none, state.taps[None], state.cap_on[None]
        )
        flow = solve(network, network.load_kva, none[0], state)
        assert (np.abs(flow.v - judged[0]) / network.v_base).max() < 1e-7


def test_a_missing_referee_names_the_extra(monkeypatch):
    """Without dss-python the error says which extra to install."""
    monkeypatch.setattr(opendss._referee, "available", lambda: False)
    with pytest.raises(opendss.OpenDssMissing, match=r"gridflock\[opendss\]"):
        opendss.Referee(from_document(DOCUMENT))


def test_controls_settle_where_opendss_settles(require, shared):
    """From neutral taps, as many at a time as each reckons, both programs end at the same seven positions.

    Several states are valid for these settings (the published one is another), so the order of
    moves is made the same: regulator 1 first.
    """
    require("dss-python (the opendss extra)", opendss.available())
    engine = opendss._referee._engine()
    master = shared / "data/feeders/IEEETestCases/123Bus/IEEE123Master.dss"
    delays = {name: 15 if name == "reg1a" else 30 for name in DSS_TAPS}
    in_turn = [f"regcontrol.c{name}.delay={delay}" for name, delay in delays.items()]
    limits = ["set tolerance=1e-9", "set maxiterations=500", "set maxcontroliter=100"]
    for command in [f'compile "{master}"', *limits, *in_turn, "solve"]:
        engine.Text.Command = command
    judged = {}
    for name in DSS_TAPS:
        engine.ActiveCircuit.RegControls.Name = f"c{name}"
        judged[name] = engine.ActiveCircuit.RegControls.TapNumber

    _, network, _ = case("ieee123_opendss")
    nothing = np.zeros(network.n, dtype=complex)
    flow, state = settle(network, network.load_kva, nothing, initial(network, published=False))
    assert flow.converged
    names = ["reg1a", *network.regulators.ids[1:]]
    assert dict(zip(names, state.taps.tolist(), strict=True)) == judged
