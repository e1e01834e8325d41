"""Daily series with regulators and capacitors acting, against OpenDSS in static control mode."""

import numpy as np
import pytest

from gridflock.grid import Shaped, initial
from gridflock.grid.build import assemble
from gridflock.grid.series import in_lanes
from gridflock.grid.series._steps import Steps, step_by_step

FOLDER = "data/feeders/IEEETestCases"
MASTERS = {
    "13": "13Bus/IEEE13Nodeckt.dss",
    "34": "34Bus/ieee34Mod1.dss",
    "123": "123Bus/IEEE123Master.dss",
    "8500": "8500-Node/Master-unbal.dss",
}
SHAPES = 7
ROUNDS = 60


@pytest.fixture(scope="module")
def opendss(require):
    """The OpenDSS adapter."""
    from gridflock.field import opendss

    require("dss-python (the opendss extra)", opendss.available())
    return opendss


def multipliers(steps, seed):
    """(7, steps) days with a morning valley and an evening peak, each with its own noise."""
    rng = np.random.default_rng(seed)
    hour = np.arange(steps) * 24.0 / steps
    day = 0.6 + 0.2 * np.sin((hour - 10) * np.pi / 12) + 0.12 * np.sin((hour - 15) * np.pi / 6)
    return day * rng.normal(1.0, 0.04, (SHAPES, steps)) * rng.uniform(0.8, 1.2, (SHAPES, 1))


class Judge:
    """OpenDSS with one feeder, its loads on shared shapes, stepped in daily mode."""

    def __init__(self, folder, master, network, state, shapes):
        from dss import DSS

        DSS.AllowForms = DSS.AllowEditor = DSS.AllowChangeDir = False
        self.text, self.circuit, self.network = DSS.Text, DSS.ActiveCircuit, network
        self._say(f'redirect "{folder / master}"')
        for kind in ("monitor", "energymeter"):
            self._say(f"batchedit {kind}..* enabled=no")
        for k, shape in enumerate(shapes):
            self._say(f"new loadshape.days{k} npts={len(shape)} minterval=15")
            self.circuit.LoadShapes.Name = f"days{k}"
            self.circuit.LoadShapes.Pmult = shape
        self.loads = [name.lower() for name in self.circuit.Loads.AllNames]
        for k, name in enumerate(self.loads):
            self._say(f"edit load.{name} daily=days{k % len(shapes)}")
        self._say("solve mode=snap controlmode=off")
        self._hold(state)
        for option in (
            "controlmode=static",
            "tolerance=1e-9",
            "maxiterations=500",
            f"maxcontroliter={ROUNDS}",
        ):
            self._say(f"set {option}")
        self._say("set mode=daily number=1 stepsize=900s hour=0 sec=0")

    def _say(self, command):
        self.text.Command = command

    def _hold(self, state):
        reg, caps = self.network.regulators, self.network.capacitors
        for row, tap in enumerate(state.taps.tolist()):
            name = self.network.branches[reg.branch[row]]
            self._say(f"edit {name} wdg={int(reg.end[row]) + 1} tap={1 + reg.step_pu[row] * tap:.15g}")
        for row, on in enumerate(state.cap_on.tolist()):
            self._say(f"edit {self.network.shunts[caps.shunt[row]]} states=[{int(on)}]")

    def shape_of(self):
        """(L,) the shape each port of the network follows."""
        row = {name: k % SHAPES for k, name in enumerate(self.loads)}
        ports = [port.removeprefix("load.") for port in self.network.loads]
        return np.array([row.get(p, row.get(p.rsplit(".", 1)[0])) for p in ports], dtype=np.int32)

    def step(self):
        """Solve the next step: taps and capacitors afterwards."""
        self.circuit.Solution.Solve()
        assert self.circuit.Solution.Converged
        taps, on = [], []
        for name in self.network.regulators.ids:
            self.circuit.RegControls.Name = name.split(".")[-1]
            taps.append(self.circuit.RegControls.TapNumber)
        for shunt in self.network.capacitors.shunt:
            self.circuit.Capacitors.Name = self.network.shunts[shunt].split(".")[-1]
            on.append(self.circuit.Capacitors.States[0] == 1)
        return taps, on


CASES = [
    pytest.param("13", 96, 1),
    pytest.param("34", 96, 2),
    pytest.param("123", 96, 3),
    pytest.param("8500", 24, 4, marks=pytest.mark.slow),
    pytest.param("8500", 96, 5, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("feeder", "steps", "seed"), CASES)
def test_controls_stand_where_opendss_has_them(opendss, shared, feeder, steps, seed):
    """From the same start, step by step: the same taps and capacitors at 99 % of steps, in lanes as well."""
    folder = shared / FOLDER
    network = assemble(opendss.read_dss(folder / MASTERS[feeder], folder)[0])
    shapes, state = multipliers(steps, seed), initial(network, published=False)
    judge = Judge(folder, MASTERS[feeder], network, state, shapes)
    follows = np.where(network.load_scaled, judge.shape_of(), SHAPES).astype(np.int32)
    days = Steps(Shaped(network.load_kva, follows, np.vstack([shapes, np.ones(steps)])))
    judged = [judge.step() for _ in range(steps)]
    own = in_lanes(network, days, state, rounds=ROUNDS)
    same = _same(own, judged)
    assert same >= 0.99
    if feeder != "8500":
        assert _same(step_by_step(network, days, state, rounds=ROUNDS), judged) >= 0.99
    assert own.converged.all()
    assert own.quiet.all()
    assert len(np.unique(own.taps, axis=0)) > 4


def _same(own, judged):
    agree = [
        own.taps[k].tolist() == taps and own.cap_on[k].tolist() == on for k, (taps, on) in enumerate(judged)
    ]
    return np.mean(agree)
