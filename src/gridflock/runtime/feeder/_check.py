"""Ours against OpenDSS on one of its own files, controls held."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflock.field import opendss
from gridflock.grid import Batch, ControlState, Network, initial, solve
from gridflock.grid.build import FeederRejected, assemble
from gridflock.runtime.feeder._read import FeederUnreadable, collection, fault_lines

EXACT_PU = 1e-6
LANES_PU = 2e-5
BESIDE = 64
"""Scenarios solved with the one that is compared, so that it has a base point for many."""
WIDE_PU = (0.7, 1.3)
"""Where a load's law jumps at its limit no unique answer exists: both sides are held inside these."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How far two programs are apart.

    Attributes:
        file: the master.
        agrees: converged, within 1e-6 pu, and within 2e-5 pu by the lanes themselves.
        nodes: compared.
        converged: ours and OpenDSS.
        max_error_pu: largest difference of a complex node voltage, per unit of its nominal value.
        node: where.
        lanes_max_error_pu: largest difference of a magnitude in the batched path in float32, pu.
        lanes_node: where.
        lanes_resolved: whether the lanes failed and the reference path answered for them.
        residual_kva: ours.
        iterations: ours.
        taps: positions held on both sides.
        widened: limits that were widened on both sides, in words; empty without.
        notes: what the file says and the model leaves out.
    """

    file: str
    agrees: bool
    nodes: int
    converged: bool
    max_error_pu: float
    node: str
    lanes_max_error_pu: float
    lanes_node: str
    lanes_resolved: bool
    residual_kva: float
    iterations: int
    taps: dict[str, int]
    widened: str
    notes: list[str]


def check(source: str, root: Path | None = None, *, widen: bool = False, as_written: bool = False) -> Checked:
    """Solve a ``.dss`` master with both programs at equal taps and compare every node.

    Args:
        source: the master file.
        root: folder outside which nothing is read.
        widen: hold every load's law between 0.7 and 1.3 pu on both sides.
        as_written: positions as the file has them; else where OpenDSS's own controls settle.

    Raises:
        FeederUnreadable: the file cannot be read or solved.
    """
    limits, path = WIDE_PU if widen else None, Path(source)
    if path.suffix.lower() != ".dss":
        raise FeederUnreadable([f"{source}: only an OpenDSS master (.dss) can be solved by both programs"])
    root = root or collection(path)
    try:
        parts, _ = opendss.read_dss(path, root, limits)
        network = assemble(parts)
        theirs = opendss.reference(path, root, limits, settle=not as_written)
    except FeederRejected as error:
        raise FeederUnreadable(fault_lines(error)) from error
    except (ImportError, OSError) as error:
        raise FeederUnreadable([f"{source}: {error}"]) from error
    state = _positions(network, theirs)
    nothing = np.zeros(network.n, dtype=np.complex128)
    flow = solve(network, network.load_kva, nothing, state)
    v = theirs.on(network)
    error_pu = np.abs(flow.v - v) / network.v_base
    worst = int(np.nanargmax(error_pu))
    batch = Batch(network, state, 0.9 * network.load_kva)
    lanes = batch.solve(np.linspace(0.8, 1.0, BESIDE)[:, None] * network.load_kva, v_pu=True)
    assert lanes.v_pu is not None
    lane_error = np.abs(lanes.v_pu[-1] - np.abs(v) / network.v_base)
    lane_worst = int(np.nanargmax(lane_error))
    good = flow.converged and theirs.converged
    return Checked(
        file=source,
        agrees=bool(
            good
            and error_pu[worst] <= EXACT_PU
            and lane_error[lane_worst] <= LANES_PU
            and not lanes.resolved[-1]
        ),
        nodes=int(np.count_nonzero(~np.isnan(error_pu))),
        converged=good,
        max_error_pu=float(f"{error_pu[worst]:.3g}"),
        node=network.node_name(worst),
        lanes_max_error_pu=float(f"{lane_error[lane_worst]:.3g}"),
        lanes_node=network.node_name(lane_worst),
        lanes_resolved=bool(lanes.resolved[-1]),
        residual_kva=float(f"{flow.residual_kva:.3g}"),
        iterations=flow.iterations,
        taps=dict(zip(network.regulators.ids, state.taps.tolist(), strict=True)),
        widened=f"load limits {limits[0]:g}..{limits[1]:g} pu on both sides" if limits else "",
        notes=list(network.notes),
    )


def _positions(network: Network, theirs: opendss.Reference) -> ControlState:
    """The positions OpenDSS stands at, in our columns."""
    neutral = initial(network)
    caps = [theirs.cap_on.get(network.shunts[row], True) for row in network.capacitors.shunt]
    return ControlState(
        np.array(theirs.taps, dtype=np.int8), np.array(caps, dtype=np.bool_), neutral.pending_since_s
    )
