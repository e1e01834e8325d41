"""Load laws as polynomials: one branch-free form for every voltage dependence.

The lanes evaluate ``i = (p·f_p(m) − j·q·f_q(m)) · u / v_rated²`` with ``m = |u|²/v_rated²``; inside a
port's limits each f is a polynomial in m, found by interpolation at Chebyshev nodes. Outside the
limits two closed forms rule (see ``Laws``). Ports of one law share one class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev, polynomial

from gridflock.grid.lanes._circuit import Float, Laws
from gridflock.grid.lanes._law import factors
from gridflock.units import Rows

VALID_PU = 0.6, 1.5
"""Wider limits than these are fitted only this far: a lane that leaves them is not answered."""
DEGREES = (5, 8, 11, 15, 21)
HEAD = 10
"""Numbers of a class before its polynomials: centre and 1/half-width of the fit in m, high², low²,
floor², f above, rise and offset of f below, and the lowest and highest m the class is made for."""
PROBES = 400
ORDERED = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Laws as the lanes evaluate them.

    Attributes:
        of_port: (P,) class of each port.
        record: (C, HEAD + 2·(degree+1)) numbers; without polynomials (C, HEAD).
        degree: of the polynomials; -1 where every class is constant power, which needs none.
        error: largest difference of a polynomial from its f, relative.
    """

    of_port: Rows
    record: Float
    degree: int
    error: float


def classes(law: Laws, accuracy: float) -> Classes:
    """Group the ports by law and fit each group to ``accuracy`` (relative), or as near as possible."""
    columns = np.column_stack(
        [
            law.zip.reshape(len(law.low), 6),
            np.nan_to_num(law.exponent, nan=-1e9),
            law.low,
            law.high,
            law.floor,
            law.edge,
        ]
    )
    _, first, of_port = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    kinds = Laws(*(getattr(law, name)[first] for name in Laws.__slots__))
    record = _heads(kinds)
    rows: Rows = of_port.reshape(-1).astype(np.int32)
    if np.isnan(kinds.exponent).all() and (kinds.zip == (1.0, 0.0, 0.0)).all() and _ordered(kinds, record):
        record[:, 8], record[:, 9] = 0.0, np.inf
        return Classes(rows, record, -1, 0.0)
    for degree in DEGREES:
        fits, error = _fits(kinds, record, degree)
        if error <= accuracy:
            break
    return Classes(rows, np.hstack([record, fits]), degree, error)


def _ordered(kinds: Laws, record: Float) -> bool:
    """Whether constant power with its limits is ``max(min(1/m, max(f below, 1)), f above)`` in every class.

    It is where the closed forms meet the law at its limits and the lower one is the steeper, as by
    OpenDSS's rules; then no comparison is needed.
    """
    r = np.linspace(0.05, 2.0, PROBES)
    for k in range(len(record)):
        one = Laws(*(np.repeat(getattr(kinds, name)[k : k + 1], PROBES, axis=0) for name in Laws.__slots__))
        wanted = factors(one, r)[0][:, 0] / r
        below = np.maximum(record[k, 6] + record[k, 7] / r, 1.0)
        found = np.maximum(np.minimum(r**-2.0, below), record[k, 5])
        if np.abs(found / wanted - 1.0).max() > ORDERED:
            return False
    return True


def _heads(kinds: Laws) -> Float:
    floor = kinds.floor
    low, high = np.maximum(kinds.low, VALID_PU[0]), np.minimum(kinds.high, VALID_PU[1])
    low, high = np.minimum(low, high), np.maximum(low, high)
    span = kinds.low - floor
    rise = np.divide(kinds.edge[:, 0] - floor, span, out=np.zeros_like(span), where=span > 0.0)
    half = np.maximum(high**2 - low**2, 1e-6) / 2.0
    return np.column_stack(
        [
            (high**2 + low**2) / 2.0,
            1.0 / half,
            kinds.high**2,
            kinds.low**2,
            floor**2,
            kinds.edge[:, 1] / kinds.high,
            rise,
            floor * (1.0 - rise),
            np.where(kinds.low < low, low**2, 0.0),
            np.where(kinds.high > high, high**2, np.inf),
        ]
    )


def _fits(kinds: Laws, record: Float, degree: int) -> tuple[Float, float]:
    """(C, 2·(degree+1)) coefficients, highest first, of p and then of q; and the worst error."""
    t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    probe = np.linspace(-1.0, 1.0, PROBES)
    worst = 0.0
    rows = []
    for k in range(len(record)):
        one = Laws(*(np.repeat(getattr(kinds, name)[k : k + 1], PROBES, axis=0) for name in Laws.__slots__))
        wanted = _inside(one, record[k], probe)
        at_nodes = _inside(Laws(*(getattr(one, name)[: degree + 1] for name in Laws.__slots__)), record[k], t)
        fitted = [chebyshev.cheb2poly(chebyshev.chebfit(t, at_nodes[:, part], degree)) for part in range(2)]
        # The conversion drops leading zeros, as an exact impedance has.
        row = [np.pad(part, (0, degree + 1 - len(part))) for part in fitted]
        for part in range(2):
            found = polynomial.polyval(probe, row[part])
            worst = max(worst, float(np.abs(found / wanted[:, part] - 1.0).max()))
        rows.append(np.concatenate([part[::-1] for part in row]))
    return np.array(rows), worst


def _inside(one: Laws, head: Float, t: Float) -> Float:
    """Factors f (len(t), 2) of p and q at the fit's own coordinate, limits left out."""
    r = np.sqrt(head[0] + t / head[1])
    open_ended = Laws(
        one.zip, one.exponent, np.zeros_like(r), np.full_like(r, np.inf), np.zeros_like(r), one.edge
    )
    g, _ = factors(open_ended, r)
    f: Float = g / r[:, None]
    return f
