"""The IEEE 4, 13, 34, 37 and 123-node test feeders as OpenDSS files, against the published voltages."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflock.field import opendss
from gridflock.grid import ControlState, initial, solve
from gridflock.grid.build import assemble

CASES = Path(__file__).parent / "powerflow"


def runs():
    """Every run of every case: a feeder file, what is changed in it, and the table it must meet."""
    found = []
    for name in ("ieee4", "ieee13", "ieee34", "ieee37", "ieee123"):
        expected = json.loads((CASES / f"{name}_published" / "expected.json").read_text("utf-8"))
        table = {"taps": positions(expected["taps"]), "in_volt": name == "ieee4"}
        found += [{"nodes": expected.get("nodes"), **table, **run} for run in expected["runs"]]
    return found


def positions(taps):
    """Taps in the order of the file's controls, by name or in that order already."""
    return list(taps.values() if isinstance(taps, dict) else taps)


RUNS = [pytest.param(run, id=run["id"]) for run in runs()]


@pytest.fixture
def feeders(shared, require):
    """Folder of the IEEE feeders, with the engine that reads them."""
    require("dss-python (the opendss extra)", opendss.available())
    return shared / "data/feeders/IEEETestCases"


def network_of(run, feeders):
    """Network of a run: the file, with the published feeder's data where the run says the file departs."""
    parts, _ = opendss.read_dss(feeders / run["file"], feeders)
    changes = run.get("changes", {})
    for name, (old, new) in changes.get("length_ft", {}).items():
        change(parts.branches, name, lambda branch, ratio=new / old: of_length(branch.y, ratio))
    for name, factor in changes.get("stiffer", {}).items():
        of = parts.sources if name.startswith("vsource") else parts.branches
        change(of, name, lambda element, factor=factor: {"y": element.y * factor})
    for source in list(parts.sources):
        turn = np.exp(1j * np.radians(changes.get("turn_deg", 0.0)))
        change(parts.sources, source.id, lambda element, turn=turn: {"v": element.v * turn})
    for name, (kw, pf) in changes.get("kw_and_power_factor", {}).items():
        kva = -complex(kw, kw * np.tan(np.arccos(pf)))
        change(parts.ports, name, lambda _, kva=kva: {"kva": kva})
    return assemble(parts)


def change(elements, name, how):
    """Replace what ``how`` says of the one element of that name."""
    (at,) = [k for k, element in enumerate(elements) if element.id == name]
    elements[at] = replace(elements[at], **how(elements[at]))


def of_length(y, ratio):
    """The pi section of a line whose length is multiplied."""
    half = len(y) // 2
    series, charging = -y[:half, half:], y[:half, :half] + y[:half, half:]
    own = series / ratio + charging * ratio
    return {"y": np.block([[own, -series / ratio], [-series / ratio, own]])}


def flow_at(network, taps):
    """Operating point at fixed taps, controls at rest."""
    state = initial(network)
    state = ControlState(np.array(taps, dtype=np.int8), state.cap_on, state.pending_since_s)
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), state)
    assert flow.converged
    return flow


def compared(network, flow, run):
    """Found and published phasors, per unit of the nominal voltage, in the order of the table."""
    found, published = [], []
    for name, (magnitude, angle) in run["nodes"].items():
        bus, phases = name.rsplit(".", 1)
        rows = [network.node_row(bus, phase) for phase in phases]
        volt, base = flow.v[rows[0]], network.v_base[rows[0]]
        if len(rows) == 2:
            volt, base = volt - flow.v[rows[1]], base * 3**0.5
        found.append(volt / base)
        published.append(magnitude / (base if run["in_volt"] else 1.0) * np.exp(1j * np.radians(angle)))
    return np.array(found), np.array(published)


@pytest.mark.parametrize("run", RUNS)
def test_published_voltages_are_met(run, feeders):
    """At the published taps every listed magnitude and angle is within tolerance, at most 2e-3 pu."""
    network = network_of(run, feeders)
    found, published = compared(network, flow_at(network, run["taps"]), run)
    assert run["tolerance_pu"] <= 0.002
    assert np.abs(np.abs(found) - np.abs(published)).max() < run["tolerance_pu"]
    assert np.degrees(np.abs(np.angle(found / published))).max() < run["tolerance_deg"]


@pytest.mark.parametrize("run", [run for run in RUNS if run.values[0]["taps"]])
def test_the_table_tells_one_tap_from_the_next(run, feeders):
    """One position up at any regulator takes a listed voltage out of tolerance."""
    network = network_of(run, feeders)
    for regulator in range(len(run["taps"])):
        taps = list(run["taps"])
        taps[regulator] += 1
        found, published = compared(network, flow_at(network, taps), run)
        assert np.abs(np.abs(found) - np.abs(published)).max() > run["tolerance_pu"]
