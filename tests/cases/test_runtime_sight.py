"""What feedback sees of a running feeder: only voltages that are young themselves."""

from types import SimpleNamespace

import numpy as np

from gridflock.dispatch.feedback import Quantity, effects
from gridflock.runtime._sight import Watched, sight

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
