"""The lanes on the published feeders: against float64 and against OpenDSS itself, lane by lane."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from gridflock.grid.lanes import Lanes, Shaped, States, Wanted
from gridflock.grid.lanes._point import miss_kva, pattern, point

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("lanes_world")

WITHIN_PU = 2e-5
RESIDUAL_KVA = 0.05
STEPS = 48
SHAPES = 50
NO_TAIL = np.zeros(0, dtype=np.int32)


@pytest.fixture(scope="module", params=list(world.FEEDERS))
def feeder(request, shared, require):
    """A feeder's arrays, exported once."""
    require("dss-python", importlib.util.find_spec("dss"))
    return world.export(shared, request.param)


def _day(feeder, steps=STEPS):
    """A day of shared shapes around 60 % of nominal; loads of fixed status keep theirs."""
    rng = np.random.default_rng(5)
    hour = np.arange(steps) * 24.0 / steps
    swing = np.sin(2 * np.pi * (hour / 24.0 - rng.random((SHAPES, 1))))
    shapes = 0.6 * (1.0 + 0.3 * swing + 0.15 * rng.standard_normal((SHAPES, steps)))
    of_load = rng.integers(0, SHAPES, feeder.load.max() + 1)
    at = np.where(feeder.fixed, SHAPES, of_load[feeder.load]).astype(np.int32)
    return Shaped(feeder.s_kva, at, at, np.vstack([shapes, np.ones(steps)])), of_load


def _magnitude(circuit, lanes, s_kva):
    found = point(circuit, lanes.anchor.frame.pattern, s_kva, lanes.anchor.base.v)
    assert found.solved
    return np.abs(found.v) / circuit.v_base


def test_the_exported_arrays_are_the_feeder(feeder):
    """Newton's method on the arrays finds OpenDSS's own full-load solution, and misses no current."""
    circuit = feeder.dss.ActiveCircuit
    circuit.Solution.Solve()
    place = {name.lower(): k for k, name in enumerate(circuit.YNodeOrder)}
    v = np.asarray(circuit.YNodeVarray).view(complex)[[place[name] for name in feeder.names]]
    found = point(feeder.circuit, pattern(feeder.circuit, NO_TAIL), feeder.s_kva)
    assert found.solved
    assert miss_kva(feeder.circuit, feeder.s_kva, found.v) < 1e-3
    assert (np.abs(found.v - v) / feeder.circuit.v_base).max() < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_day_of_steps_is_within_tolerance_in_every_lane(feeder, dtype):
    """At 1e-5 pu asked for, no node of any step is further than 2e-5 pu from the float64 answer."""
    demand, _ = _day(feeder)
    lanes = Lanes(feeder.circuit, demand.mean_kva(), dtype=dtype)
    flows = lanes.solve(demand, Wanted(v_pu=True, rounds=0))
    assert lanes.ready
    assert flows.converged.all()
    assert flows.residual_kva.max() < RESIDUAL_KVA
    for step, s_kva in enumerate(demand.dense()[::3]):
        assert np.abs(flows.v_pu[3 * step] - _magnitude(feeder.circuit, lanes, s_kva)).max() < WITHIN_PU


def test_a_step_is_what_opendss_finds(feeder):
    """Load multipliers set in OpenDSS load by load lead to the lane's voltages."""
    demand, of_load = _day(feeder)
    flows = Lanes(feeder.circuit, demand.mean_kva()).solve(demand, Wanted(v_pu=True))
    circuit, step = feeder.dss.ActiveCircuit, 7
    fixed = dict(zip(feeder.load, feeder.fixed, strict=True))
    before = []
    for number, _ in enumerate(circuit.Loads):
        before.append((circuit.Loads.kW, circuit.Loads.kvar))
        if not fixed[number]:
            times = demand.shapes[of_load[number], step]
            circuit.Loads.kW, circuit.Loads.kvar = before[-1][0] * times, before[-1][1] * times
    circuit.Solution.Solve()
    place = {name.lower(): k for k, name in enumerate(circuit.YNodeOrder)}
    v = np.asarray(circuit.YNodeVarray).view(complex)[[place[name] for name in feeder.names]]
    for (kw, kvar), _ in zip(before, circuit.Loads, strict=True):
        circuit.Loads.kW, circuit.Loads.kvar = kw, kvar
    assert np.abs(np.abs(v) / feeder.circuit.v_base - flows.v_pu[step]).max() < WITHIN_PU


@pytest.mark.parametrize("export_kw", [3.0, 5.0, 8.0])
def test_heavy_reverse_flow_is_answered_or_flagged(feeder, export_kw):
    """Two loads in five exporting, from a base point that knows of none: right, or not converged."""
    rng = np.random.default_rng(1)
    demand = np.tile(0.6 * feeder.s_kva, (32, 1))
    demand[rng.random(demand.shape) < 0.4] += export_kw
    lanes = Lanes(feeder.circuit, 0.6 * feeder.s_kva)
    flows = lanes.solve(demand, Wanted(v_pu=True))
    assert flows.converged.mean() > 0.9
    for lane in np.flatnonzero(flows.converged)[::6]:
        assert np.abs(flows.v_pu[lane] - _magnitude(feeder.circuit, lanes, demand[lane])).max() < WITHIN_PU


@pytest.mark.parametrize("name", ["ieee123", "8500"])
def test_taps_and_capacitors_of_each_lane_are_its_own(shared, require, name):
    """Each lane at taps and capacitors of its own is the flow of the feeder in that state."""
    require("dss-python", importlib.util.find_spec("dss"))
    feeder = world.export(shared, name)
    nodes, delta_y = world.control_states(feeder, 12, seed=3)
    demand, _ = _day(feeder)
    of = np.random.default_rng(3).integers(0, 12, STEPS).astype(np.int32)
    lanes = Lanes(feeder.circuit, demand.mean_kva(), tail=nodes)
    flows = lanes.solve(demand, Wanted(v_pu=True), States(of, delta_y))
    assert flows.converged.all()
    row, column = np.repeat(nodes, len(nodes)), np.tile(nodes, len(nodes))
    for step in range(0, STEPS, 9):
        change = sparse.csc_matrix(
            (delta_y[of[step]].reshape(-1), (row, column)), shape=feeder.circuit.y.shape
        )
        there = replace(feeder.circuit, y=(feeder.circuit.y + change).tocsc())
        found = point(there, pattern(there, NO_TAIL), demand.dense()[step])
        assert found.solved
        assert np.abs(np.abs(found.v) / there.v_base - flows.v_pu[step]).max() < WITHIN_PU
