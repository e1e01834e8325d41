"""OpenDSS as rival: what it is asked, how it is stepped, and that what it does not solve is refused."""

import numpy as np
import pytest

from gridflock.field import opendss
from gridflock.field.opendss import _daily
from gridflock.grid import Shaped, initial, solve
from gridflock.grid.build import assemble

STREET = """
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
new energymeter.head element=line.trunk
set voltagebases=[4.16 .48]
calcvoltagebases
"""
TIGHT = 1e-9


@pytest.fixture
def street(tmp_path, require):
    """A small master with a regulator, a capacitor, a load of fixed status, a monitor and a meter."""
    require("dss-python", opendss.available())
    path = tmp_path / "street.dss"
    path.write_text(STREET, "utf-8")
    return path


PEAK = [0.5, 0.5, 0.5, 0.5, 0.5, 1.7, 1.4, 1.1, 0.9, 0.7, 0.55, 0.5]
"""A day whose sixth step is the hardest to come to from the one before."""


def shapes():
    """Two equal shapes."""
    return np.array([PEAK, PEAK])


def test_meters_and_monitors_are_off(street):
    """They cost OpenDSS as much time as the flow: a daily run has none of those in the file."""
    rival = opendss.Daily(street, None, shapes())
    kinds = {str(name).split(".", 1)[0].lower() for name in rival._circuit.api.AllElementNames}
    assert "load" in kinds
    assert not kinds & {"monitor", "energymeter", "sensor"}
    assert rival._circuit.api.Monitors.Count == rival._circuit.api.Meters.Count == 0


def test_steps_of_a_call_are_those_one_by_one(street):
    """Seven steps in one call end where seven calls end, and where the voltages are asked for singly."""
    network = assemble(opendss.read_dss(street)[0])
    multipliers = np.linspace(0.3, 1.1, 24).reshape(2, 12)
    rival = opendss.Daily(street, None, multipliers)
    rival.hold(network, initial(network))
    singly = rival.voltages_at(network, [6])[0]
    rival.begin(TIGHT)
    rival.step(7)
    together = rival.voltages(network)
    walked = [rival.voltages(network) for _ in rival.run(TIGHT)]
    assert len(walked) == rival.steps == 12
    assert np.abs(together - walked[6]).max() < 1e-5
    assert np.abs(singly - walked[6]).max() < 1e-5


def test_every_step_has_the_voltages_of_our_reference(street):
    """Step k of the rival is scenario k of ours, fixed loads included: equal to 1e-7 pu at all steps."""
    network = assemble(opendss.read_dss(street)[0])
    multipliers = np.linspace(0.3, 1.1, 24).reshape(2, 12)
    rival = opendss.Daily(street, None, multipliers)
    rival.hold(network, initial(network))
    shape = np.where(network.load_scaled, rival.shape_of(network, 2), 2).astype(np.int32)
    loads = Shaped(network.load_kva, shape, np.vstack([multipliers, np.ones(12)]))
    still = np.zeros(network.n, dtype=complex)
    for step in rival.run(TIGHT):
        ours = solve(network, loads.at(step), still, initial(network))
        assert np.abs(np.abs(rival.voltages(network)) / network.v_base - ours.v_pu).max() < 1e-7


def test_a_step_in_the_middle_that_is_not_solved_is_refused_by_number(street, monkeypatch):
    """OpenDSS speaks of the last step of a call alone; judged one by one, the first bad step is named."""
    rival = opendss.Daily(street, None, shapes())
    assert [*rival.run(TIGHT)] == list(range(12))
    taken = [rival.iterations for _ in rival.run(TIGHT)]
    assert taken[5] > max(taken[:5])
    monkeypatch.setattr(_daily, "_MOST_ITERATIONS", taken[5] - 1)
    solved = []
    with pytest.raises(opendss.NotConverged, match="step 5 to 1e-09 pu within"):
        solved.extend(rival.run(TIGHT))
    assert solved == [0, 1, 2, 3, 4]
    rival.begin(TIGHT)
    with pytest.raises(opendss.NotConverged, match="step 5"):
        rival.step(6)


def test_single_steps_that_are_not_solved_are_refused(street, monkeypatch):
    """No voltages of a step that OpenDSS gave up."""
    network = assemble(opendss.read_dss(street)[0])
    rival = opendss.Daily(street, None, shapes())
    monkeypatch.setattr(_daily, "_MOST_ITERATIONS", 1)
    with pytest.raises(opendss.NotConverged, match="step 3"):
        rival.voltages_at(network, [3])


def test_controls_that_do_not_come_to_rest_are_refused(street):
    """Where one control round is too few, the step is an error and not a time."""
    network = assemble(opendss.read_dss(street)[0])
    rival = opendss.Daily(street, None, shapes())
    rival.begin(1e-6, 1)
    rival.hold(network, initial(network))
    with pytest.raises(opendss.NotConverged, match="step 0"):
        rival.step()
