"""What feedback sees of a running feeder: only voltages that are young themselves."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from gridflock.dispatch.feedback import Quantity, effects
from gridflock.grid import initial, settle, solve
from gridflock.grid.build import from_document
from gridflock.runtime._sight import Watched, _shifts, sight
from gridflock.sim import feeder_document

NOW_S = 1_750_000_000
NONE = np.zeros(0, dtype=np.int32)
QUANTITY = np.full(2, Quantity.VOLTAGE, dtype=np.uint8)
EFFECTS = effects(np.ones((2, 1), np.float32), np.ones((2, 1), np.float32), np.zeros(3, np.int32), QUANTITY)
OF = Watched(
    made_s=NOW_S,
    nodes=np.array([4, 7], dtype=np.int32),
    meters=np.array([0, 1, 2], dtype=np.int32),
    place=np.array([0, 0, 1], dtype=np.int32),
    conductors=NONE,
    most_a=np.zeros(0),
    names=("voltage at bus 4 phase a", "voltage at bus 7 phase a"),
    quantity=QUANTITY,
    effects=EFFECTS,
)
FLOW = SimpleNamespace(currents=np.zeros(0, dtype=complex))


def seen(v_pu, age_s):
    """What is seen of three meters, all of which tell their power now, by the ages of their voltages."""
    image = SimpleNamespace(v_pu=np.array(v_pu), now_s=NOW_S, heard_s=np.full(3, NOW_S))
    return sight(OF, image, FLOW, NOW_S - np.array(age_s), 10.0)


def test_a_voltage_that_is_no_longer_told_is_not_seen():
    """A meter that goes on telling its power makes its old voltage no younger, nor that of its node."""
    young = seen([1.02, 1.04, 1.00], [0, 2, 5])
    assert np.allclose(young.value, [1.03, 1.00])
    assert young.at_s.tolist() == [NOW_S, NOW_S - 5]
    one_old = seen([1.02, 1.06, 1.00], [60, 2, 60])
    assert np.allclose(one_old.value, [1.06, np.nan], equal_nan=True)
    assert one_old.at_s[0] == NOW_S - 2
    assert np.isnan(seen([1.02, 1.06, 1.00], [60, 60, NOW_S + 1]).value).all()


def test_what_regulators_and_capacitors_do_by_a_step_is_known_in_ac():
    """One column for each that acts by itself: what one more tap does in sight; the locked have none."""
    network = from_document(feeder_document("ieee123"))
    flow, state = settle(network, network.load_kva, np.zeros(network.n, complex), initial(network))
    nodes, none = np.flatnonzero(flow.v_pu > 0.0).astype(np.int32), np.zeros(0, dtype=np.int32)
    shifts = _shifts(flow, nodes, none)
    regulators = network.regulators
    free = np.flatnonzero(~regulators.locked)
    assert shifts.shape == (len(nodes), len(free))
    for k, column in zip(free, shifts.T, strict=True):
        taps = state.taps.copy()
        taps[k] += 1
        after = solve(network, network.load_kva, np.zeros(network.n, complex), replace(state, taps=taps))
        assert np.allclose(column, (after.v_pu - flow.v_pu)[nodes], atol=1e-7)
        assert 0.8 * regulators.step_pu[k] < column.max() < 1.3 * regulators.step_pu[k]
    held = replace(network, regulators=replace(regulators, locked=np.ones_like(regulators.locked)))
    assert _shifts(replace(flow, network=held), nodes, none).shape == (len(nodes), 0)
