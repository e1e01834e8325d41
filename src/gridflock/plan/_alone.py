"""One group against given prices: what it would do, what its store is worth, what a change would cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan.direct import Floats, Indices, Program, solve, values_of
from gridflock.units import Kw, Money

_TIDY = 1e-7
"""Money per kWh of moving at all, so that of equal changes the smallest is found."""


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best answer to prices.

    Attributes:
        p_kw: (T,) injection.
        worth: (T,) money per kWh in store at the end of each step; NaN without a store.
        bound: (T,) what the band at each step's end adds to the worth of energy held until then:
            positive where empty or owed, negative where full.
    """

    p_kw: Kw
    worth: Money
    bound: Money


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The cheapest way to do otherwise.

    Attributes:
        costs: money, own costs and energy at the given prices.
        moved_kw: (T,) how the group's injection changes; nobody else's.
    """

    costs: float
    moved_kw: Kw


def best_answer(
    f: Flexibility, row: int, price: Money, end_value: float, band_penalty: float = 200.0
) -> Best | None:
    """What a group would do at given prices.

    Args:
        f: what groups can do.
        row: which one.
        price: (T,) money per kWh injected.
        end_value: money per kWh left in store.
        band_penalty: money per kWh and step by which its band gives way where it cannot be kept.

    Returns:
        None without an optimum.
    """
    hours, program, n = f.grid.hours, Program(), f.grid.n
    up = program.columns((f.cost_up[row] - price) * hours, 0.0, f.up_kw[row])
    down = program.columns((f.cost_down[row] + price) * hours, 0.0, f.down_kw[row])
    has_store = _has_store(f, row)
    if has_store:
        gains = (f.gain_up[row], f.gain_down[row])
        store = _store(program, (up, down), gains, hours, (np.full(n, -np.inf), np.full(n, np.inf)))
        program.cost[-1][-1] = -end_value
        band = program.rows(f.x_lo_kwh[row, 1:], f.x_hi_kwh[row, 1:])
        gives = program.columns(np.full((2, n), band_penalty), 0.0, np.inf)
        program.put(band, store[1], 1.0)
        program.put(band, gives, np.array([[1.0], [-1.0]]))
    solution = solve(program)
    if not solution.ok:
        return None
    p_kw = f.base_kw[row] + values_of(up, solution) - values_of(down, solution)
    if not has_store:
        return Best(p_kw, np.full(n, np.nan), np.zeros(n))
    return Best(p_kw, -solution.row_price[store[0]], solution.row_price[band])


def cheapest_change(
    f: Flexibility, row: int, p_kw: Kw, price: Money, end_value: float, step: int, by_kw: float
) -> Change | None:
    """Inject ``by_kw`` more at ``step`` than planned; the group's other steps follow in the best way.

    Args:
        f: what groups can do.
        row: which one.
        p_kw: (T,) its plan.
        price: (T,) money per kWh injected.
        end_value: money per kWh left in store.
        step: where.
        by_kw: how much more; less where negative.

    Returns:
        None where the group cannot.
    """
    hours, program, moved = f.grid.hours, Program(), p_kw - f.base_kw[row]
    up, down = np.maximum(moved, 0.0), np.maximum(-moved, 0.0)
    sides = []
    for planned, most, cost, sign in (
        (up, f.up_kw[row], f.cost_up[row], 1.0),
        (down, f.down_kw[row], f.cost_down[row], -1.0),
    ):
        each = (cost - sign * price) * hours
        more = program.columns(each + _TIDY, 0.0, np.maximum(most - planned, 0.0))
        less = program.columns(-each + _TIDY, 0.0, planned)
        sides.append((more, less))
    asked = program.rows(np.array([by_kw]), np.array([by_kw]))
    for sign, (more, less) in zip((1.0, -1.0), sides, strict=True):
        program.put(asked, more[step], sign)
        program.put(asked, less[step], -sign)
    if _has_store(f, row):
        level = np.cumsum((f.gain_up[row] * up + f.gain_down[row] * down) * hours)
        room = np.minimum(f.x_lo_kwh[row, 1:] - level, 0.0), np.maximum(f.x_hi_kwh[row, 1:] - level, 0.0)
        gains = (f.gain_up[row], -f.gain_up[row], f.gain_down[row], -f.gain_down[row])
        _store(program, (*sides[0], *sides[1]), gains, hours, room)
        program.cost[-1][-1] = -end_value
    solution = solve(program)
    if not solution.ok:
        return None
    ways = [values_of(more, solution) - values_of(less, solution) for more, less in sides]
    moved_kw = ways[0] - ways[1]
    return Change(
        solution.cost - _TIDY * float(sum(solution.value[c].sum() for s in sides for c in s)), moved_kw
    )


def _has_store(f: Flexibility, row: int) -> bool:
    bounded = np.isfinite(f.x_lo_kwh[row, 1:]).any() or np.isfinite(f.x_hi_kwh[row, 1:]).any()
    return bool(bounded and (f.gain_up[row] or f.gain_down[row]))


def _store(
    program: Program,
    columns: tuple[Indices, ...],
    gains: tuple[float, ...],
    hours: Floats,
    bounds: tuple[Floats, Floats],
) -> tuple[Indices, Indices]:
    """Levels at the ends of steps, bound to what is moved; numbers of the rows and of the levels."""
    level = program.columns(np.zeros(len(hours)), *bounds)
    zero = np.zeros(len(hours))
    rows = program.rows(zero, zero)
    program.put(rows, level, 1.0)
    program.put(rows[1:], level[:-1], -1.0)
    for column, gain in zip(columns, gains, strict=True):
        program.put(rows, column, -gain * hours)
    return rows, level
