"""What the lanes need of a network at one control state: plain arrays, no names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.units import Mask, Rows

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Laws:
    """How the current of each port follows its voltage: columns per port.

    With r = |u|/v_rated, a port of nominal power s = p + jq (kVA, house sign) injects
    ``(p·g_p(r) − j·q·g_q(r))·1000/v_rated · u/|u|`` ampere into its first node. Inside
    ``[low, high]`` each g is a sum of constant power, current and impedance or a power of r; above,
    the impedance that has ``edge[:, 1]`` at ``high``; below, linear in r down to the nominal
    impedance at ``floor`` and that impedance further down (the rules of OpenDSS's load models).

    Attributes:
        zip: (P, 2, 3) shares of constant power, current and impedance, for p and for q.
        exponent: (P, 2) of r in the power law of p and q (OpenDSS model 4); NaN where shares rule.
        low: (P,) per unit of the rated voltage.
        high: (P,) per unit.
        floor: (P,) per unit, below which only the nominal impedance is left.
        edge: (P, 2) g just outside the low and the high limit, for p and q alike.
    """

    zip: Float
    exponent: Float
    low: Float
    high: Float
    floor: Float
    edge: Float


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Ports whose reactive power follows their own voltage (volt-var), C of them.

    Such a port of nominal injection s = p + jq injects p and, instead of q, the curve's value at its voltage
    times ``kva``, held within ±q: its q is the most it may give or take in a scenario. Both follow the
    voltage further by the port's law like the powers of any other.

    Attributes:
        port: (C,) the ports.
        of: (C,) curve of each.
        kva: (C,) rating to which the curve's values refer.
        v_pu: (K, k) voltages of the curves' corners, per unit of the port's rated voltage, ascending.
        q: (K, k) reactive power at the corners in parts of the rating, house sign; flat beyond the ends.
    """

    port: Rows
    of: Rows
    kva: Float
    v_pu: Float
    q: Float


@dataclass(frozen=True, slots=True, eq=False)
class Circuit:
    """A network at one control state.

    Attributes:
        y: complex (n, n) nodal admittance, S, loads left out, source admittance included.
        i_source: complex (n,) Norton current of the sources, A.
        v_base: (n,) nominal line-to-neutral voltage, V: what per unit means at a node.
        port_nodes: (P, 2) nodes between which a port stands, -1 for ground.
        port_v: (P,) rated voltage across the port, V.
        law: of each port.
        curves: of ports whose reactive power follows their voltage; None where there are none.
        hidden: (n,) nodes whose voltage is no service voltage (neutrals, dead ones): left out of a
            scenario's extremes; None where all count.
    """

    y: sparse.csc_matrix
    i_source: Complex
    v_base: Float
    port_nodes: Rows
    port_v: Float
    law: Laws
    curves: Curves | None = None
    hidden: Mask | None = None
