"""Kirchhoff's laws and the balance of power on published feeders, element by element."""

import numpy as np
import pytest

from gridflock.field import opendss
from gridflock.grid import PortKind, initial, settle, solve
from gridflock.grid.build import assemble

IEEE = "feeders/IEEETestCases"
RELATIVE = 1e-6
MASTERS = [
    f"{IEEE}/13Bus/IEEE13Nodeckt.dss",
    f"{IEEE}/37Bus/ieee37.dss",
    f"{IEEE}/34Bus/ieee34Mod1.dss",
    f"{IEEE}/4Bus-YD-Bal/4Bus-YD-Bal.DSS",
    f"{IEEE}/LVTestCase/Master.dss",
    f"{IEEE}/8500-Node/Master.dss",
    f"{IEEE}/8500-Node/Master-unbal.dss",
]


@pytest.fixture(autouse=True, scope="module")
def engine(require):
    """The OpenDSS engine is there: it reads the files."""
    require("OpenDSS (gridflock[opendss])", opendss.available())


def _at_nodes(network, node, currents):
    """(n,) sums of currents (c,) at their nodes; what goes to ground is left out."""
    total = np.zeros(network.n + 1, dtype=complex)
    np.add.at(total, node, currents)
    return total[:-1]


def _shunt_currents(flow):
    """(c,) A into each conductor of every shunt, block by block from the network's own columns."""
    network, blocks = flow.network, flow.network.shunt_blocks
    u = np.append(flow.v, 0.0)[blocks.node]
    off = np.zeros(len(network.shunts), dtype=bool)
    off[network.capacitors.shunt[~flow.state.cap_on]] = True
    found = np.zeros(len(u), dtype=complex)
    for row in np.flatnonzero(~off).tolist():
        own = slice(blocks.start[row], blocks.start[row + 1])
        found[own] = blocks.block(row) @ u[own]
    return found


def _port_currents(flow):
    """(L,) A that each port puts into its first node, from the power it is said to serve."""
    ends = np.append(flow.v, 0.0)[flow.network.load_nodes]
    across = ends[:, 0] - ends[:, 1]
    return 1000.0 * np.conj(flow.served_kva / across)


def _source_currents(flow):
    """(ks,) A out of each source conductor into its node."""
    network = flow.network
    return network.source_y @ (network.source_v - flow.v[network.source_nodes])


@pytest.mark.parametrize("controls", [False, True], ids=["as-written", "settled"])
@pytest.mark.parametrize("master", MASTERS)
def test_power_and_currents_balance(shared, master, controls):
    """Injections are losses and what the source takes; at every node the currents sum to nothing."""
    network = assemble(opendss.read_dss(shared / "data" / master, shared / "data/feeders")[0])
    still = np.zeros(network.n, dtype=complex)
    flow = solve(network, network.load_kva, still, initial(network))
    if controls:
        flow, _ = settle(network, network.load_kva, still, flow.state, flow)
    assert flow.converged
    grounded = np.append(flow.v, 0.0)
    branch, shunt = flow.currents, _shunt_currents(flow)
    into_branches = grounded[network.branch_blocks.node] * np.conj(branch) / 1000.0
    into_shunts = grounded[network.shunt_blocks.node] * np.conj(shunt) / 1000.0
    lost = into_branches.sum() + into_shunts.sum()
    moved = np.abs(flow.served_kva).sum()
    assert abs(flow.served_kva.sum() - lost - flow.source_kva.sum()) <= RELATIVE * moved
    assert lost.real > 0.0
    assert flow.source_kva.sum().real < 0.0
    assert flow.losses_kw == pytest.approx(lost.real, abs=RELATIVE * moved)
    assert flow.head_kva.sum() == pytest.approx(flow.source_kva.sum(), rel=RELATIVE)

    ports = _port_currents(flow)
    drawn = [(network.load_nodes[:, 0], -ports), (network.load_nodes[:, 1], ports)]
    drawn += [(network.source_nodes, -_source_currents(flow))]
    drawn += [(network.branch_blocks.node, branch), (network.shunt_blocks.node, shunt)]
    missing = sum(_at_nodes(network, node, amps) for node, amps in drawn)
    assert np.abs(missing * flow.v).max() / 1000.0 <= max(RELATIVE * np.abs(flow.served_kva).max(), 1e-6)


@pytest.mark.parametrize("master", MASTERS)
def test_each_branch_keeps_what_it_does_not_pass_on(shared, master):
    """No branch makes active power; a transformer and a line give out what they take but their losses."""
    network = assemble(opendss.read_dss(shared / "data" / master, shared / "data/feeders")[0])
    flow = solve(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))
    blocks = network.branch_blocks
    into = np.append(flow.v, 0.0)[blocks.node] * np.conj(flow.currents) / 1000.0
    kept = np.zeros(len(network.branches), dtype=complex)
    passed = np.zeros(len(network.branches))
    np.add.at(kept, blocks.owner, into)
    np.add.at(passed, blocks.owner, np.abs(into))
    assert (kept.real >= -RELATIVE * np.maximum(passed, 1.0)).all()
    loads = network.load_kind == PortKind.LOAD
    assert (flow.served_kva[loads].real <= 0.0).all()
