"""Primitive admittance of any transformer from its nameplate.

The construction is the classical one (R. C. Dugan, "A perspective on transformer modeling for
distribution system analysis", IEEE PES General Meeting 2003; W. H. Kersting, "Distribution System
Modeling and Analysis", ch. 8; the admittance of ``nw`` coupled coils from their short-circuit
tests: ``shorted_coils``): the short-circuit impedances between the coils of one leg, all on one
volt, are inverted to an admittance; the coils' turns and their connection carry it to the
terminals by one incidence matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Winding:
    """One winding of a transformer: a coil on every leg, and how the coils are joined.

    Attributes:
        connection: ``wye`` or ``delta``. A single-phase unit has a wye winding between its two
            conductors; a centre-tapped one has two of them that meet at a common conductor.
        rated_v: line-to-line voltage of a winding of two or three phases, voltage across the coil
            of a single-phase one, V.
        r_pct: resistance, percent on the transformer's rating.
        tap: turns in use, per unit of the rated ones.
        clock: hours by which its voltages lag the ones of a winding at 0 (Dyn11: 0 and 11). A wye
            and a delta winding differ by an odd number, two of a kind by an even one.
        neutral_ohm: impedance from the neutral conductor of a wye winding to ground; None where
            nothing leads there (a solid ground is conductor 0 at that end).
    """

    connection: Literal["wye", "delta"]
    rated_v: float
    r_pct: float = 0.0
    tap: float = 1.0
    clock: int = 0
    neutral_ohm: complex | None = None


def transformer_block(
    windings: Sequence[Winding],
    x_pct: Sequence[float],
    *,
    kva: float,
    phases: int = 3,
    core_pct: tuple[float, float] = (0.0, 0.0),
    core_at: int = 1,
    antifloat_ppm: float = 0.0,
) -> Complex:
    """Primitive admittance over the conductors of all windings in order.

    A wye winding has its phases and then its neutral; a delta one its phases (three for an open
    delta of two coils, in which the third has none of its own); a single-phase one the two ends of its coil.

    Args:
        windings: two or more.
        x_pct: short-circuit reactance of each pair, percent on ``kva``: (1,2), (1,3) … (2,3) ….
        kva: rating of the whole unit, kVA.
        phases: 1, 2 or 3 legs.
        core_pct: no-load loss and magnetising current, percent on ``kva``.
        core_at: row of the winding the core is seen at.
        antifloat_ppm: inductive admittance to ground in millionths of the rating, half of it at
            each end of each coil and once more half at a neutral that nothing grounds: keeps a
            winding without a path to ground solvable.

    Returns:
        complex (k, k), S, symmetric.

    Raises:
        ValueError: figures no transformer can have; the text says which.
    """
    _check(windings, x_pct, kva, phases, core_at)
    one_volt = shorted_coils([w.r_pct for w in windings], x_pct) * (kva * 1000.0 / phases) * 100.0
    one_volt[core_at, core_at] += complex(core_pct[0], -core_pct[1]) * kva * 10.0 / phases
    turns = _turns(windings, phases)
    y = np.asarray(turns.T @ np.kron(np.eye(phases), one_volt) @ turns, dtype=np.complex128)
    y[np.diag_indices_from(y)] += _to_ground(windings, turns, kva * 1000.0 / phases * antifloat_ppm * 1e-6)
    return y


def shorted_coils(r: Sequence[float], x: Sequence[float]) -> Complex:
    """Admittance of ideal-ratio coils on one leg from their short-circuit tests.

    With one coil as the reference, the voltages of the others against it are ``Z i`` where
    ``Z_jj`` is the test between the reference and j, and ``Z_jk = (Z_j + Z_k - Z_test(j,k)) / 2``.

    Args:
        r: resistance of each coil.
        x: reactance of each pair, (1,2), (1,3) … (2,3) …, same base.

    Returns:
        complex (nw, nw), the inverse of the unit of ``r``; every row sums to 0.

    Raises:
        ValueError: the tests contradict each other: no such coils exist.
    """
    count = len(r)
    test = np.zeros((count, count), dtype=np.complex128)
    for (i, j), reactance in zip(combinations(range(count), 2), x, strict=True):
        test[i, j] = test[j, i] = complex(r[i] + r[j], reactance)
    z = (test[:1, 1:] + test[1:, :1] - test[1:, 1:]) / 2.0
    if abs(np.linalg.det(z)) <= 1e-12 * np.prod(np.abs(test[0, 1:])):
        raise ValueError("short-circuit impedances that no set of windings can have")
    against = np.hstack([np.ones((count - 1, 1)), -np.eye(count - 1)])
    y = np.asarray(against.T @ np.linalg.inv(z) @ against, dtype=np.complex128)
    return (y + y.T) / 2.0


def conductors(winding: Winding, phases: int) -> int:
    """How many conductors a winding brings to the block."""
    if winding.connection == "wye":
        return phases + 1
    return 2 if phases == 1 else 3


def _check(
    windings: Sequence[Winding], x_pct: Sequence[float], kva: float, phases: int, core_at: int
) -> None:
    count = len(windings)
    if phases not in {1, 2, 3}:
        raise ValueError(f"{phases} phases: expected 1, 2 or 3")
    if count < 2 or len(x_pct) != count * (count - 1) // 2:
        raise ValueError(f"{count} windings and {len(x_pct)} reactances: expected one for each pair")
    if not (kva > 0 and math.isfinite(kva)):
        raise ValueError(f"rating {kva} kVA is not above 0")
    if not 0 <= core_at < count:
        raise ValueError(f"core at winding {core_at + 1} of {count}")
    for w in windings:
        if not (w.rated_v > 0 and w.tap > 0 and math.isfinite(w.rated_v * w.tap)):
            raise ValueError(f"rated {w.rated_v} V at tap {w.tap}: both must be above 0")
        if w.neutral_ohm is not None and (w.connection != "wye" or w.neutral_ohm == 0):
            raise ValueError("a neutral impedance is above 0 and belongs to a wye winding")


def _turns(windings: Sequence[Winding], phases: int) -> Float:
    """Incidence of coils (leg by leg, winding by winding) and conductors over the coils' volts."""
    leg = _leg_hour(windings)
    widths = [conductors(w, phases) for w in windings]
    turns = np.zeros((phases * len(windings), sum(widths)))
    for row, w in enumerate(windings):
        first = sum(widths[:row])
        split = phases > 1 and w.connection == "wye"
        volts = w.rated_v * w.tap / (math.sqrt(3.0) if split else 1.0)
        for number, (start, finish) in enumerate(_coils(w, phases, (leg - w.clock) % 12)):
            coil = number * len(windings) + row
            turns[coil, first + start] += 1.0 / volts
            turns[coil, first + finish] -= 1.0 / volts
    return turns


def _leg_hour(windings: Sequence[Winding]) -> int:
    """The clock of the coil voltages: a wye winding's; without one, that of coils ab, bc of the first."""
    return next((w.clock for w in windings if w.connection == "wye"), windings[0].clock - 1)


def _coils(winding: Winding, phases: int, hour: int) -> list[tuple[int, int]]:
    """Start and finish of the coil on each leg where coil voltages lag the phases by ``hour``.

    A coil from a to b leads phase a by an hour, one from a to c lags it by one; starting a phase
    later adds four, exchanging start and finish six.
    """
    if phases == 1:
        ends = [(0, 1)] if hour in {0, 1, 11} else [(1, 0)] if hour == 6 else []
    elif winding.connection == "wye":
        ends = _wye(phases, hour)
    else:
        ends = _delta(phases, hour)
    if not ends:
        raise ValueError(f"a {winding.connection} winding cannot stand {hour} hours from the others")
    return ends


def _wye(phases: int, hour: int) -> list[tuple[int, int]]:
    if hour % 2 or (phases == 2 and hour not in {0, 6}):
        return []
    straight = hour % 4 == 0
    shift = (hour // 4 if straight else (hour + 6) % 12 // 4) % 3
    starts = [(leg + shift) % 3 if phases == 3 else leg for leg in range(phases)]
    return [(start, phases) if straight else (phases, start) for start in starts]


def _delta(phases: int, hour: int) -> list[tuple[int, int]]:
    if hour % 2 == 0:
        return []
    onward = hour % 4 == 3
    shift = (hour + 1) // 4 % 3 if onward else (hour - 1) // 4
    starts = [(leg + shift) % 3 for leg in range(phases)]
    return [(start, (start + (1 if onward else 2)) % 3) for start in starts]


def _to_ground(windings: Sequence[Winding], turns: Float, stray_va: float) -> Complex:
    """Admittance to ground of each conductor: stray paths and neutral impedances."""
    added = np.zeros(turns.shape[1], dtype=np.complex128)
    phases = len(turns) // len(windings)
    first = 0
    for row, w in enumerate(windings):
        width = conductors(w, phases)
        own = slice(first, first + width)
        coils = turns[row :: len(windings), own] * w.tap
        half = np.abs(coils).max() ** 2 * stray_va / 2.0
        added[own] += -1j * half * np.count_nonzero(coils, axis=0)
        if w.connection == "wye":
            added[first + width - 1] += -1j * half if w.neutral_ohm is None else 1.0 / w.neutral_ohm
        first += width
    return added
