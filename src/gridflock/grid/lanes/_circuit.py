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
class Inverters:
    """Inverters whose powers follow the voltage they see, D of them, by one law for every setting.

    An inverter stands at one or more ports, acts on the mean of the voltages across them and shares its
    power equally among them. What its ports are asked to inject in active power is, in sum, what is
    available to it (or wanted of it); their reactive power is not read. In parts of its rating ``kva``,
    house sign, with p what is available and v the voltage it sees, per unit::

        p = min(clip(p, p_low, p_high), watt_p + watt_slope·(clip(v, watt_from, watt_to) − watt_from))
        p = clip(p, first_low, first_high)
        part = max(0 if |p| < none_below else min(|p|/full_from, 1), steady)
        p = clip(p, second_low, second_high)
        q = q0 + ratio·p + Σ_k slope_k·clip(by_v·v + by_p·p − corner_k, 0, width_k)
        q within −max(√(1−p²), keep_absorb) and max(√(1−p²), keep_inject)
        q = clip(q, −part·absorb, part·inject)
        p = clip(p, −√(1−q²), √(1−q²))

    Both powers then follow the voltage further by the port's law, like those of any other port.

    Attributes:
        start: (D+1,) first entry of each inverter in ``port``.
        port: (C,) the ports, each at most once.
        kva: (D,) rating.
        p_low: (D,) least active power; like all limits finite, a large number where there is none.
        p_high: (D,) most.
        watt_from: (D,) voltage at which volt-watt begins.
        watt_to: (D,) voltage at which it ends.
        watt_p: (D,) active power it leaves below; a large number where it is off.
        watt_slope: (D,) by which this changes in between, 1/pu.
        first_low: (D,) least active power before the capability is taken.
        first_high: (D,) most.
        second_low: (D,) least afterwards.
        second_high: (D,) most.
        none_below: (D,) active power below which there is no reactive power.
        full_from: (D,) from which there is all of it.
        steady: (D,) 1 where there always is, else 0.
        absorb: (D,) most reactive power absorbed, positive.
        inject: (D,) most injected.
        keep_absorb: (D,) up to which reactive power goes first, absorbing; 2 for all of it.
        keep_inject: (D,) the same, injecting.
        by_v: (D,) 1 where the curve follows the voltage, else 0.
        by_p: (D,) 1 where it follows the active power, else 0.
        ratio: (D,) reactive to active power.
        q0: (D,) reactive power below the first corner.
        corner: (D, k) where the segments of the curve begin, ascending.
        width: (D, k) how far they reach.
        slope: (D, k) of them.
    """

    start: Rows
    port: Rows
    kva: Float
    p_low: Float
    p_high: Float
    watt_from: Float
    watt_to: Float
    watt_p: Float
    watt_slope: Float
    first_low: Float
    first_high: Float
    second_low: Float
    second_high: Float
    none_below: Float
    full_from: Float
    steady: Float
    absorb: Float
    inject: Float
    keep_absorb: Float
    keep_inject: Float
    by_v: Float
    by_p: Float
    ratio: Float
    q0: Float
    corner: Float
    width: Float
    slope: Float

    @property
    def count(self) -> Rows:
        """(D,) ports of each inverter."""
        return np.diff(self.start)

    @property
    def owner(self) -> Rows:
        """(C,) inverter of each entry of ``port``."""
        return np.repeat(np.arange(len(self.kva), dtype=np.int32), self.count)


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
        inverters: at some of the ports, following their voltage; None where there are none.
        hidden: (n,) nodes whose voltage is no service voltage (neutrals, dead ones): left out of a
            scenario's extremes; None where all count.
    """

    y: sparse.csc_matrix
    i_source: Complex
    v_base: Float
    port_nodes: Rows
    port_v: Float
    law: Laws
    inverters: Inverters | None = None
    hidden: Mask | None = None
