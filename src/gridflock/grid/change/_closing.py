"""Whether two energised points may be joined: same phase sequence, same vector group, same level.

Each closing is looked at by itself, in order, with those before it already closed: the idle voltages
on its two sides, which is what a synchronism check across an open breaker sees. Through a
transformer the far side's voltage is the open-circuit one of its winding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridflock.grid._admittance import admittance
from gridflock.grid._network import Complex, Network
from gridflock.grid._state import initial
from gridflock.grid._topology import NEUTRAL
from gridflock.grid._wiring import MAGNETIC
from gridflock.grid.build._document import Faults
from gridflock.units import Mask, Rows

ANGLE_DEG = 20.0
"""Two idle voltages further apart than this are not closed onto each other: a wrong vector group
turns by 30 degrees, a wrong phase by 120, while a loaded feeder stays within a few."""
LEVEL = 1.25
"""Ratio of voltages beyond which two points are of different levels; regulators at opposite ends of
their range make 1.22."""
COUPLED = 1e-4
"""Singular values of a winding's admittance below this share are its floating modes."""


def refuse_conflicts(before: Network, after: Network, faults: Faults) -> None:
    """Note every branch or source newly in service that would join what does not belong together."""
    branches = _fresh(before.branches, before.branch_in, after.branches, after.branch_in)
    sources = _fresh(before.sources, ~before.source_out, after.sources, ~after.source_out)
    if not len(branches) and not len(sources):
        return
    out, source_out = after.branch_out.copy(), after.source_out.copy()
    out[branches] = source_out[sources] = True
    for row in sources.tolist():
        now = _with(after, out, source_out)
        _note(now, "source", after.sources[row], _source_conflict(now, row), faults)
        source_out[row] = False
    for row in branches.tolist():
        now = _with(after, out, source_out)
        kind = after.branch_kind[row]
        conflict = _winding_conflict(now, row) if kind in MAGNETIC else _contact_conflict(now, row)
        _note(now, kind, after.branches[row], conflict, faults)
        out[row] = False


def _with(network: Network, out: Mask, source_out: Mask) -> Network:
    return replace(network, branch_out=out.copy(), source_out=source_out.copy(), wired=network.wiring)


def _fresh(names: tuple[str, ...], was: Mask, now_names: tuple[str, ...], now: Mask) -> Rows:
    """Rows of what is in service now and was not before."""
    if names == now_names:
        return np.flatnonzero(now & ~was).astype(np.int32)
    served = {name for name, there in zip(names, was.tolist(), strict=True) if there}
    return np.array([k for k in np.flatnonzero(now) if now_names[k] not in served], dtype=np.int32)


def _note(network: Network, kind: str, name: str, conflict: tuple[int, str] | None, faults: Faults) -> None:
    if conflict:
        node, words = conflict
        reason = f"at node {network.node_name(node)} {words}: these may not be joined"
        faults.add(kind, name, "voltage", reason)


def _idle(network: Network) -> Complex | None:
    try:
        return admittance(network, initial(network)).v_idle
    except np.linalg.LinAlgError:
        return None


def _apart(nodes: Rows, v: Complex, other: Complex) -> tuple[int, str] | None:
    """The first node whose two voltages do not belong together, and how far apart they are."""
    size = np.abs(v) > 0.05 * max(float(np.abs(v).max(initial=0.0)), 1e-9)
    for node, one, two in zip(nodes[size].tolist(), v[size].tolist(), other[size].tolist(), strict=True):
        turn = abs(float(np.degrees(np.angle(two / one)))) if two else 180.0
        ratio = abs(two) / abs(one)
        if turn > ANGLE_DEG:
            return node, f"the two sides are {turn:.0f} degrees apart"
        if not 1.0 / LEVEL <= ratio <= LEVEL:
            return node, f"one side has {abs(one):.0f} V, the other {abs(two):.0f} V"
    return None


def _contact_conflict(network: Network, row: int) -> tuple[int, str] | None:
    """A line or switch: the conductors at the same position of its ends."""
    conduction = network.wiring.conduction
    own = conduction.owner == row
    first, second = conduction.first[own], conduction.second[own]
    phases = (network.node_phase[first] < NEUTRAL) & (network.node_phase[second] < NEUTRAL)
    first, second = first[phases], second[phases]
    live = network.topology.live
    idle = live[first] & live[second]
    level = network.v_base[second] / network.v_base[first]
    wrong = np.flatnonzero(~idle & ((level > LEVEL) | (level < 1.0 / LEVEL)))
    if len(wrong):
        one, two = network.v_base[first[wrong[0]]], network.v_base[second[wrong[0]]]
        return int(first[wrong[0]]), f"one side is nominal {one:.0f} V, the other {two:.0f} V"
    v = _idle(network) if idle.any() else None
    return None if v is None else _apart(second[idle], v[second[idle]], v[first[idle]])


def _winding_conflict(network: Network, row: int) -> tuple[int, str] | None:
    """A transformer or regulator: its open-circuit voltages against those it is connected to."""
    blocks, live = network.branch_blocks, np.append(network.topology.live, False)
    own = slice(int(blocks.start[row]), int(blocks.start[row + 1]))
    nodes, near = blocks.node[own], blocks.end[own] == 0
    if not live[nodes[near & (nodes >= 0)]].all() or not live[nodes[~near & (nodes >= 0)]].any():
        return None
    v = _idle(network)
    if v is None:
        return None
    far = np.flatnonzero(~near & (nodes >= 0))
    volts, block = np.append(v, 0.0)[nodes], blocks.block(row)
    inverse = np.linalg.pinv(block[np.ix_(far, far)], rcond=COUPLED)
    open_circuit = -inverse @ (block[np.ix_(far, np.flatnonzero(near))] @ volts[near])
    there = inverse @ (block[np.ix_(far, far)] @ volts[far])
    fed = live[nodes[far]] & (network.node_phase[nodes[far]] < NEUTRAL)
    return _apart(nodes[far][fed], there[fed], open_circuit[fed])


def _source_conflict(network: Network, row: int) -> tuple[int, str] | None:
    own = network.source_of == row
    nodes = network.source_nodes[own]
    if not network.topology.live[nodes].any():
        return None
    v = _idle(network)
    fed = network.topology.live[nodes]
    return None if v is None else _apart(nodes[fed], v[nodes[fed]], network.source_v[own][fed])
