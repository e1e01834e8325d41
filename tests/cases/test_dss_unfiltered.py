"""Master files as OpenDSS runs them whole, against what is left of them when we have read them."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflock.field import opendss
from gridflock.grid import initial, solve
from gridflock.grid.build import assemble

sys.path.insert(0, str(Path(__file__).parent))
referee = importlib.import_module("dss_referee")

AGREEMENT_PU = 1e-6
WIDE = (0.85, 1.15)
"""Load limits where loads jump at their own: there no unique answer exists."""
MASTERS = [
    ("IEEETestCases", "13Bus/IEEE13Nodeckt.dss", None),
    ("IEEETestCases", "34Bus/ieee34Mod1.dss", None),
    ("IEEETestCases", "34Bus/ieee34Mod2.dss", None),
    ("IEEETestCases", "37Bus/ieee37.dss", None),
    ("IEEETestCases", "123Bus/IEEE123Master.dss", None),
    ("IEEETestCases", "LVTestCase/Master.dss", None),
    ("IEEETestCases", "8500-Node/Master.dss", None),
    ("EPRITestCircuits", "ckt5/Master_ckt5.dss", WIDE),
]


@pytest.fixture(autouse=True, scope="module")
def engine(require):
    """The OpenDSS engine is there."""
    require("OpenDSS (gridflock[opendss])", opendss.available())


@pytest.fixture(scope="module")
def feeders(shared, tmp_path_factory):
    """A copy of all feeders, which the files may write into."""
    return referee.copied(shared / "data/feeders", tmp_path_factory.mktemp("unfiltered"))


@pytest.mark.parametrize(("collection", "master", "limits"), MASTERS)
def test_nothing_that_counts_is_lost_in_reading(feeders, collection, master, limits):
    """At the positions the whole file ends at: every node, to 1e-6 pu, and the losses are the engine's.

    Neither the reading folder nor the working directory changes, and no node is there on one side only.
    """
    before = Path.cwd()
    path = feeders / collection / master
    theirs = referee.judged(path, limits=limits)
    assert Path.cwd() == before
    network = assemble(opendss.read_dss(path, feeders, limits)[0])
    reg, caps = network.regulators, network.capacitors
    taps = [theirs.taps[name.split(".")[-1].lower()] for name in reg.ids]
    on = [theirs.cap_on[network.shunts[row].split(".")[-1].lower()] for row in caps.shunt]
    state = replace(initial(network), taps=np.array(taps, np.int8), cap_on=np.array(on, np.bool_))
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), state, tol=1e-10)
    assert flow.converged
    names = [
        f"{network.buses[bus].lower()}.{wire}"
        for bus, wire in zip(network.node_bus, network.node_conductor.tolist(), strict=True)
    ]
    assert set(names) == set(theirs.volts)
    wanted = np.array([theirs.volts[name] for name in names])
    assert (np.abs(flow.v - wanted) / network.v_base).max() <= AGREEMENT_PU
    assert flow.losses_kw == pytest.approx(theirs.losses_kw, rel=1e-5, abs=1e-4)


def test_a_file_that_is_not_solved_has_no_judgement(tmp_path):
    """More power than the line can carry: an error instead of the last iterate."""
    path = tmp_path / "street.dss"
    path.write_text(
        "clear\nnew circuit.street basekv=4.16 bus1=s r1=.05 x1=.2 r0=.05 x0=.2\n"
        "new line.l bus1=s bus2=m length=2 units=km r1=.3 x1=.5 r0=.6 x0=1.6\n"
        "new load.m bus1=m kv=4.16 kw=8000 kvar=50 vminpu=.3 vlowpu=0\n"
        "set voltagebases=[4.16]\ncalcvoltagebases\n"
    )
    with pytest.raises(ArithmeticError, match="street"):
        referee.judged(path)
