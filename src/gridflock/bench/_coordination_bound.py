"""What every plan costs at least, worked out without the oracles' compiled loops.

Weak duality, device by device: for a store any worth of stored energy per step gives a bound, whatever
it is (a good one is read off a schedule); a vehicle's cheapest charging is a sort. Only the limits' duals
and, as a hint, schedules are taken from the coordination.
"""

from __future__ import annotations

import numpy as np

from gridflock.bench._coordination_world import World
from gridflock.plan.coordination import Plan
from gridflock.plan.devices import Question, Stores, Vehicles

Float = np.ndarray


def independent_bound(of: World, plan: Plan) -> float:
    """The bound at the plan's duals, money.

    Raises:
        ValueError: duals outside their box, which would prove nothing.
    """
    rows = of.problem.rows
    if (plan.dual < 0.0).any() or (plan.dual > rows.most * (1 + 1e-12)).any():
        raise ValueError("bound: duals outside 0..slack price")
    price = of.problem.price + (rows.matrix.toarray().T @ plan.dual) / of.problem.hours
    bound = float((plan.dual * rows.need_kw).sum())
    first = 0
    for oracle in of.oracles:
        asked = price[first : first + oracle.groups]
        first += oracle.groups
        for g in range(oracle.groups):
            members = slice(oracle.start[g], oracle.start[g + 1])
            if isinstance(oracle, Stores):
                bound -= _stores_most(oracle, members, asked[g], _hint(oracle, members, asked[g]))
            elif isinstance(oracle, Vehicles):
                bound += _vehicles_least(oracle, members, asked[g])
    return bound


def _hint(of: Stores, members: slice, price: Float) -> Float:
    """(n, T) schedules of one group at its prices: where to look for the worth of stored energy."""
    part = of.only(np.arange(members.start, members.stop), np.array([0, members.stop - members.start]))
    p_kw = np.zeros((part.members, len(price)), dtype=np.float32)
    part.add_schedules(Question(price[None], 0.0), np.ones(1), p_kw)
    return p_kw.astype(np.float64)


def _stores_most(of: Stores, members: slice, price: Float, p_kw: Float) -> float:
    """At least what these stores can earn together, by the worth of energy that ``_worth`` reads off."""
    hours = of.hours
    eta_c, eta_d = of.eff_charge[members, None], of.eff_discharge[members, None]
    wear, charge, discharge = (
        of.wear[members, None],
        of.charge_kw[members, None],
        of.discharge_kw[members, None],
    )
    lo, hi, now = of.e_lo_kwh[members], of.e_hi_kwh[members], of.e_now_kwh[members]
    want, end, short = of.e_want_kwh[members], of.end_value[members], of.short_price[members]
    worth = _worth(of, members, price, p_kw)
    giving = (price - wear - worth / eta_d) * discharge
    drawing = (worth * eta_c - price - wear) * charge
    most = (np.maximum(np.maximum(giving, drawing), 0.0) * hours).sum() + (worth[:, 0] * now).sum()
    turn = worth[:, 1:] - worth[:, :-1]
    most += np.maximum(turn * lo[:, None], turn * hi[:, None]).sum()
    corners = [
        end * np.maximum(e - want, 0.0) - short * np.maximum(want - e, 0.0) - worth[:, -1] * e
        for e in (lo, want, hi)
    ]
    return float(most + np.max(corners, axis=0).sum())


def _worth(of: Stores, members: slice, price: Float, p_kw: Float) -> Float:
    """(n, T) worth of a stored kWh during each step.

    It stays the same until the store is full or empty, may rise only where it is full and fall only where
    it is empty, and lies between what charging costs and what discharging brings as the schedule says.
    """
    n, steps = p_kw.shape
    eta_c, eta_d, wear = of.eff_charge[members], of.eff_discharge[members], of.wear[members]
    lo, hi, e = of.e_lo_kwh[members], of.e_hi_kwh[members], of.e_now_kwh[members].copy()
    near = 1e-5 * hi
    least, most = np.full(n, -np.inf), np.full(n, np.inf)
    low, high, edge = np.empty((n, steps)), np.empty((n, steps)), np.empty((n, steps), dtype=np.bool_)
    for t in range(steps):
        p = p_kw[:, t]
        dear, cheap = (price[t] + wear) / eta_c, (price[t] - wear) * eta_d
        full_in = p <= -of.charge_kw[members] * (1 - 1e-5)
        full_out = p >= of.discharge_kw[members] * (1 - 1e-5)
        least = np.maximum(least, np.where(p < -near, dear, np.where(full_out, -np.inf, cheap)))
        most = np.minimum(most, np.where(p > near, cheap, np.where(full_in, np.inf, dear)))
        low[:, t], high[:, t] = least, most
        e = e + of.hours[t] * np.where(p < 0.0, -p * eta_c, -p / eta_d)
        empty, full = e <= lo + near, e >= hi - near
        edge[:, t] = empty | full
        least = np.where(empty & ~full, -np.inf, least)
        most = np.where(full & ~empty, np.inf, most)
    worth = np.empty((n, steps))
    ahead = of.end_value[members]
    for t in range(steps - 1, -1, -1):
        ahead = np.where(edge[:, t], np.minimum(np.maximum(ahead, low[:, t]), high[:, t]), ahead)
        worth[:, t] = ahead
    return worth


def _vehicles_least(of: Vehicles, members: slice, price: Float) -> float:
    """What these vehicles pay at least at the prices."""
    left = of.need_kwh[members].copy()
    most, first, last = of.most_kw[members], of.first[members], of.last[members]
    paid = 0.0
    for t in np.argsort(price, kind="stable"):
        drawn = np.where((first <= t) & (t < last), np.minimum(most * of.hours[t], left), 0.0)
        left -= drawn
        paid += float(price[t] * drawn.sum())
    return paid
