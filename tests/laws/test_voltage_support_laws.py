"""Laws of voltage support: sensitivities are true, orders are small and inside the inverters' discs."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.dispatch._reactive import reactive_due, reactive_targets
from gridflock.fleet import reactive_room
from gridflock.grid import Area, initial, solve, voltage_envelopes
from gridflock.grid._support import _effects
from gridflock.grid.build import from_document
from gridflock.model import Envelope
from gridflock.runtime import System
from gridflock.schema import INVERTERS
from gridflock.sim import Scenario, World, feeder_document

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def feeder():
    """The packed feeder at half load."""
    network = from_document(feeder_document("ieee123"))
    load, inject = 0.5 * network.load_kva, np.zeros(network.n, dtype=complex)
    return network, load, inject, solve(network, load, inject, initial(network))


@pytest.mark.parametrize("direction", [1.0, 1j])
@pytest.mark.parametrize("bus", ["83", "47", "114"])
def test_the_effect_of_an_injection_is_that_of_the_solver(feeder, bus, direction):
    """First-order effects agree with a finite difference of the power flow.

    Loads answer to voltage in the solver and are held in the sensitivity: within a tenth.
    """
    network, load, inject, flow = feeder
    weight = np.zeros((network.n, 1))
    here = np.flatnonzero(network.node_bus == network.buses.index(bus))
    weight[here] = 1.0 / len(here)
    step = 2.0
    moved = solve(network, load, inject + step * direction * weight[:, 0], flow.state, flow)
    found = _effects(network, flow, weight)[int(direction == 1j)][here, 0]
    np.testing.assert_allclose(found, (moved.v_pu - flow.v_pu)[here] / step, rtol=0.1)


@given(level=st.floats(0.90, 1.10), q_kvar=st.floats(-200, 200), room=st.floats(0.0, 300))
@quick
def test_envelopes_push_towards_the_band_and_name_the_node(feeder, level, q_kvar, room):
    """Above the band the bounds lie below the present injection, under it above; inside at rest, none.

    Reactive bounds never ask for more than the room; every envelope names a bus.
    """
    network, _, _, flow = feeder
    nodes = np.flatnonzero(network.node_bus == network.buses.index("83")).astype(np.int32)
    weight = np.zeros(network.n)
    weight[nodes] = 1.0 / len(nodes)
    q_kvar = float(np.clip(q_kvar, -room, room))
    found = voltage_envelopes(
        network,
        flow,
        np.full(network.n, level),
        [Area("section/s5/a", nodes, weight)],
        np.array([10.0 + 1j * q_kvar]),
        np.array([room]),
        60,
    )
    if not found:
        assert 0.95 < level < 1.05
        return
    (envelope,) = found
    assert "bus 83" in envelope.source
    assert envelope.q_hi_kvar >= -room
    assert envelope.q_lo_kvar <= room
    if level > 1.05:
        assert envelope.q_hi_kvar <= q_kvar + 1e-9
    if level < 0.95:
        assert envelope.q_lo_kvar >= q_kvar - 1e-9


@pytest.fixture(scope="module")
def morning():
    """A small fleet at ten in the morning: its image and all its rows."""
    world = World(Scenario(ders=200))
    system = System.build(feeder_document("ieee123"), world.registry)
    world.advance(world.start_s + 36_000)
    system.fleet.ingest(world.read(world.now_s), world.now_s)
    return system.fleet.image(world.now_s), system.groups.rows("all")


@given(lower=st.floats(-500, 500), width=st.floats(0, 500))
@quick
def test_reactive_targets_are_the_least_that_holds_and_inside_the_room(morning, lower, width):
    """Each group takes the value nearest to zero, no inverter more than its room, nobody else any."""
    image, rows = morning
    envelope = Envelope("all", -np.inf, np.inf, "test", image.now_s + 60, lower, lower + width)
    target = reactive_targets([envelope], {"all": rows}, image)
    room = reactive_room(image)
    asked = np.isfinite(target)
    assert asked.any()
    assert np.isin(image.kind[asked], tuple(INVERTERS)).all()
    assert (np.abs(target[asked]) <= room[asked] + 1e-9).all()
    if lower <= 0 <= lower + width:
        assert not np.any(target[asked])
    elif abs(lower if lower > 0 else lower + width) > 1e-6:
        assert np.all(np.sign(target[asked]) == np.sign(lower if lower > 0 else lower + width))
    assert not reactive_due(np.where(asked, 0.0, np.nan), np.full(image.n, np.nan), image).any()
