"""Port currents and their derivatives, exact, in float64: the law the compiled lanes are fitted to."""

from __future__ import annotations

import numpy as np

from gridflock.grid.lanes._circuit import Circuit, Complex, Float, Laws
from gridflock.grid.lanes._inverter_law import followed


def factors(law: Laws, r: Float) -> tuple[Float, Float]:
    """Current factors g (P, 2) of p and q at the voltages r (P,) per unit, and their derivatives dg/dr."""
    r = r[:, None]
    with np.errstate(all="ignore"):
        g = law.zip[:, :, 0] / r + law.zip[:, :, 1] + law.zip[:, :, 2] * r
        slope = law.zip[:, :, 2] - law.zip[:, :, 0] / r**2
        powered = np.flatnonzero(~np.isnan(law.exponent).all(axis=1))
        if len(powered):
            e, at = law.exponent[powered], r[powered]
            own = ~np.isnan(e)
            g[powered] = np.where(own, at ** (e - 1.0), g[powered])
            slope[powered] = np.where(own, (e - 1.0) * at ** (e - 2.0), slope[powered])
    low, high, floor = law.low[:, None], law.high[:, None], law.floor[:, None]
    if not ((r > high) | (r < low)).any():
        return g, slope
    above, rise = law.edge[:, 1:] / high, _rise(law)[:, None]
    outside = [r > high, r < floor, r < low]
    g = np.select(outside, [above * r, r, floor + rise * (r - floor)], g)
    slope = np.select(outside, [above, np.ones_like(r), rise], slope)
    return g, slope


def _rise(law: Laws) -> Float:
    """(P,) dg/dr between the floor and the low limit; 0 where there is nothing between."""
    span = law.low - law.floor
    gap = law.edge[:, 0] - law.floor
    rise: Float = np.divide(gap, span, out=np.zeros_like(gap), where=span > 0.0)
    return rise


def port_voltage(circuit: Circuit, v: Complex) -> Complex:
    """Complex (P,) voltage across each port, V."""
    ends = np.append(v, 0.0)[circuit.port_nodes]
    across: Complex = ends[:, 0] - ends[:, 1]
    return across


def currents(circuit: Circuit, s_kva: Complex, u: Complex) -> tuple[Complex, Float]:
    """Current of each port into its first node, and how it follows the port's voltage.

    Args:
        circuit: the network.
        s_kva: complex (P,) nominal injections, house sign; of inverters what is available to them.
        u: complex (P,) voltages across the ports, V.

    Returns:
        Complex (P,) ampere, and (P, 4) real 2×2 blocks d(re i, im i)/d(re u, im u) by rows, S.
    """
    size = np.abs(u)
    along = u / size
    g, slope = factors(circuit.law, size / circuit.port_v)
    scale = 1000.0 / circuit.port_v
    if circuit.inverters is None:
        bend = np.zeros_like(s_kva)
    else:
        s_kva, bend = followed(circuit.inverters, s_kva, size / circuit.port_v)
    p, q = s_kva.real * scale, s_kva.imag * scale
    level = p * g[:, 0] - 1j * q * g[:, 1]
    p_turned = p * slope[:, 0] + bend.real * scale * g[:, 0]
    q_turned = q * slope[:, 1] + bend.imag * scale * g[:, 1]
    radial = (p_turned - 1j * q_turned) / circuit.port_v * along
    turning = 1j * level * along / size
    by_re = radial * along.real - turning * along.imag
    by_im = radial * along.imag + turning * along.real
    return level * along, np.stack([by_re.real, by_im.real, by_re.imag, by_im.imag], axis=1)
