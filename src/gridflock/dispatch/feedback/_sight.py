"""What feedback sees of a feeder, and what its resources can do: values handed in at every tick."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Codes, Kvar, Kw, Mask, Rows

Float = NDArray[np.float64]
Matrix = NDArray[np.float32]


MODES, POWERS = 6, 2
"""Shapes of a feeder's voltages that are told apart, and how sharply they are found."""
ROWS = 8
"""Voltages for each shape: of fewer a shape tells no more than they do."""


class Quantity(IntEnum):
    """What a row of a ``Sight`` measures, and in which unit."""

    VOLTAGE = 0
    """Magnitude, pu."""
    CURRENT = 1
    """Magnitude, A."""
    POWER = 2
    """Active power, kW; of the head and of transformers positive towards the source: export."""


UNIT_WORDS = ("pu", "A", "kW")
"""By ``Quantity``."""


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """Sensitivities of m quantities to C ports, and which resource stands where. Made by ``effects``.

    They live as long as an operating point is near enough: a slow task makes new ones, with a new version.

    Attributes:
        matrix: float32 (2·C, m) change of each quantity per kW, then per kvar, injected at each port.
        column: int32 (n,) port of each resource; -1 for what stands elsewhere.
        modes: (m, k) the few shapes in which the source and injections at the ports move voltages,
            orthonormal; 0 at other quantities.
        version: changes with the matrix.
        shifts: (m, K) change of each quantity by a step of each regulator and switched capacitor, which act
            unasked; (m, 0) where there are none.
    """

    matrix: Matrix
    column: Rows
    modes: Float
    version: int
    shifts: Float

    @property
    def ports(self) -> int:
        """How many ports, C."""
        return len(self.matrix) // 2


def effects(
    by_kw: Matrix,
    by_kvar: Matrix,
    column: Rows,
    quantity: Codes,
    version: int = 0,
    shifts: Float | None = None,
) -> Effects:
    """Sensitivities as feedback uses them.

    Args:
        by_kw: (m, C) change of each quantity per kW injected at each port, in the quantity's unit.
        by_kvar: (m, C) the same per kvar.
        column: int32 (n,) port of each resource, -1 for what stands elsewhere.
        quantity: (m,) ``Quantity``.
        version: number of the operating point.
        shifts: (m, K) change of each quantity by a step of each regulator and switched capacitor; None for
            a feeder without them.

    Raises:
        ValueError: shapes that do not fit, a number that is not finite, or an unknown port.
    """
    if by_kw.shape != by_kvar.shape or by_kw.ndim != 2:
        raise ValueError(f"by_kvar: {by_kvar.shape} beside by_kw {by_kw.shape} (rule: both (m, C))")
    if not (np.isfinite(by_kw).all() and np.isfinite(by_kvar).all()):
        raise ValueError("by_kw, by_kvar: a number that is not finite")
    if len(column) and not (column.min() >= -1 and column.max() < by_kw.shape[1]):
        raise ValueError(f"column: outside -1..{by_kw.shape[1] - 1}")
    steps = np.zeros((len(by_kw), 0)) if shifts is None else shifts
    if len(steps) != len(by_kw) or not np.isfinite(steps).all():
        raise ValueError(f"shifts: {steps.shape}, finite or not (rule: {len(by_kw)} rows of finite numbers)")
    matrix = np.ascontiguousarray(np.concatenate([by_kw.T, by_kvar.T]), dtype=np.float32)
    place = np.ascontiguousarray(column, dtype=np.int32)
    return Effects(matrix, place, _modes(matrix, quantity), version, steps)


def _modes(matrix: Matrix, quantity: Codes) -> Float:
    """All alike, and leading singular vectors of voltages' sensitivities, by a randomised range finder.

    Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011, algorithm 4.4.
    """
    volts = np.flatnonzero(quantity == Quantity.VOLTAGE)
    many = min(MODES, len(volts) // ROWS, len(matrix))
    modes = np.zeros((len(quantity), many + 1 if many else 0))
    if many:
        a = matrix[:, volts].T
        drawn = np.random.default_rng(0).standard_normal((a.shape[1], many)).astype(np.float32)
        basis = np.linalg.qr(a @ drawn)[0]
        for _ in range(POWERS):
            basis = np.linalg.qr(a @ (a.T @ basis))[0]
        modes[volts] = np.linalg.qr(np.column_stack([np.ones(len(volts)), basis]))[0]
    return modes


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Measured quantities of one feeder and their limits: m rows.

    Attributes:
        names: m names for people, such as ``"voltage at bus 83 phase a"``.
        quantity: (m,) ``Quantity``.
        value: (m,) newest reading; NaN where there is none.
        at_s: (m,) when it was taken, s; may lie behind the tick by the meters' delay.
        low: (m,) lower limit; -inf where there is none.
        high: (m,) upper limit; +inf where there is none.
        noise: (m,) standard deviation of a reading's error.
        drift: (m,) how far the quantity usually wanders by itself within one second.
        ramp: (m,) largest wanted change by itself per second, either way; +inf where none is asked.
        effects: sensitivities of the same rows.
        ahead: (m,) level expected at ``ahead_s`` by itself, with what stores can add then: a cloud front that
            is seen coming. A row with a ramp limit is brought there in time. NaN where nothing is expected.
        ahead_s: (m,) that moment.
    """

    names: tuple[str, ...]
    quantity: Codes
    value: Float
    at_s: Float
    low: Float
    high: Float
    noise: Float
    drift: Float
    ramp: Float
    effects: Effects
    ahead: Float | None = None
    ahead_s: Float | None = None

    @property
    def m(self) -> int:
        """How many rows."""
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Able:
    """What n resources can do now. Injection is positive.

    Attributes:
        p_lo_kw: (n,) lowest active power, envelope included.
        p_hi_kw: (n,) highest.
        q_most_kvar: (n,) largest reactive power either way; 0 where there is none.
        s_kva: (n,) apparent rating that both share; +inf where nothing binds them together.
        answers: (n,) whether an order would be followed: resting and silent resources are left as they are.
        ease: (n,) > 0, how readily each is moved beside the others: its size over what moving it costs.
    """

    p_lo_kw: Kw
    p_hi_kw: Kw
    q_most_kvar: Kvar
    s_kva: Float
    answers: Mask
    ease: Float


@dataclass(frozen=True, slots=True, eq=False)
class Powers:
    """Active and reactive power of n resources.

    Attributes:
        p_kw: (n,) NaN where nothing is wanted or known.
        q_kvar: (n,) the same.
    """

    p_kw: Kw
    q_kvar: Kvar


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What n resources are known to do: acknowledged orders, or telemetry of those without one.

    Attributes:
        p_kw: (n,) NaN where nothing is known.
        q_kvar: (n,) the same.
        since_s: (n,) since when each does so; what was measured before has not seen it.
        by_order: (n,) whether its active and its reactive power are what was ordered: what others change is
            no answer to anybody. None where all that is known was ordered.
    """

    p_kw: Kw
    q_kvar: Kvar
    since_s: Float
    by_order: tuple[Mask, Mask] | None = None
