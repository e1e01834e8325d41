"""The optimum of chains with its proof: a schedule that keeps its rows, and a bound from their prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.plan.devices._compiled import Array
from gridflock.plan.direct._chains import Chains
from gridflock.plan.direct._interior import descend
from gridflock.plan.direct._newton import LOCAL, Errors, room
from gridflock.plan.direct._setting import Setting, setting_of

AIM = 1e-10
PROVEN, KEPT = 1e-8, 1e-7
"""Largest gap between cost and bound, as a part of the cost's scale; largest breach."""


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """A schedule, what its rows cost, and how near the best it is.

    Attributes:
        proven: cost and bound meet and all bounds are kept, to 1e-8 and 1e-7 of their scales.
        cost: money.
        bound: money no schedule goes below, by exact answers of every column to the prices.
        breach: largest breach of a store's band or of a hard limit, as a part of the power it is about,
            of 1 kW at least.
        rounds: of the method.
        up: (m, T) kW.
        down: (m, T) kW.
        content: (m, T) kWh after each step, replayed.
        head: (4, T) kW: import, import beyond its limit, export, export beyond.
        peak: kW of import above what is paid already.
        change: (2, T - 1) kW by which the head's import falls and rises; empty where it costs nothing.
        given: per limit (2, n) kW, by which it gave way below and above.
        reduced_up: (m, T) money per kW, change of the cost with the column's bound.
        reduced_down: (m, T).
        reduced_content: (m, T) money per kWh.
        reduced_head: (4, T).
        reduced_peak: money per kW.
        room_price: (m, T) money of excluding up and down, >= 0.
        value: (m, T) money per kWh in store after each step: price of the chain's row.
        price: (T,) money per kW more demand at the head.
        peak_price: (T,) money per kW.
        change_price: (T - 1,) price of the change's row.
        limit_price: per limit (n,) money per kW.
    """

    proven: bool
    cost: float
    bound: float
    breach: float
    rounds: int
    up: Array
    down: Array
    content: Array
    head: Array
    peak: float
    change: Array
    given: tuple[Array, ...]
    reduced_up: Array
    reduced_down: Array
    reduced_content: Array
    reduced_head: Array
    reduced_peak: float
    room_price: Array
    value: Array
    price: Array
    peak_price: Array
    change_price: Array
    limit_price: tuple[Array, ...]


def optimum(of: Chains, aim: float = AIM) -> Optimum:
    """Solve by the interior-point method; look at ``proven`` before use.

    Where several schedules are best, the one in their middle is found: always the same.

    Args:
        of: finite where not said otherwise, at least one step.
        aim: largest error and gap at which to stop.
    """
    setting = setting_of(of)
    m, steps = of.most_up.shape
    shape, columns, rows = setting.shape, setting.columns, setting.rows
    errors = Errors(
        slope=np.empty(len(setting.top)),
        lacking=np.empty((m, steps)),
        unfilled=np.empty(m * steps),
        short=np.empty(shape.rows),
        short_peak=np.empty(steps),
    )
    done = descend(shape, columns, rows, room(m, steps, shape.rows), errors, aim)
    _price_forced(of, setting, errors.slope)
    return _told(of, setting, errors, done)


def _price_forced(of: Chains, setting: Setting, slope: Array) -> None:
    """Prices of rows that force a flow to zero: raised to where the flow is worth nothing."""
    m, steps = of.most_up.shape
    n = m * steps
    if not setting.forced.any():
        return
    up, down, content = (slope[k * n : (k + 1) * n].reshape(m, steps) for k in range(3))
    for flow, effect, most in ((up, of.effect_up, of.most_up), (down, of.effect_down, of.most_down)):
        tempted = setting.forced & (most > 0) & (flow > 0)
        raised = np.divide(flow, effect, out=np.zeros((m, steps)), where=tempted)
        setting.rows.value[:] += raised
        up -= of.effect_up * raised
        down -= of.effect_down * raised
        content += raised
        content[:, :-1] -= raised[:, 1:]


def _told(of: Chains, setting: Setting, errors: Errors, done: int) -> Optimum:
    """The last point in kW and money: flows clipped, all else replayed from them, and judged."""
    m, steps = of.most_up.shape
    n, kw, money = m * steps, setting.kw, setting.money
    local, slack = 4 * n, 4 * n + LOCAL * setting.shape.rows
    part = setting.columns.value * kw
    up = np.clip(part[:n].reshape(m, steps), 0.0, of.most_up)
    down = np.clip(part[n : 2 * n].reshape(m, steps), 0.0, of.most_down)
    content = of.content[:, None] + (of.effect_up * up + of.effect_down * down).cumsum(axis=1)
    head, breach = _head(of, up, down)
    breach = max(breach, _outside(of, content))
    peak = max(0.0, float((head[0] + head[1]).max()) - of.so_far) if of.peak_price > 0 else 0.0
    flow = head[0] + head[1] - head[2] - head[3]
    change = _parted(-np.diff(flow)) if of.change_price > 0 else np.empty((2, 0))
    given = tuple(
        _given(limit.least, limit.most, (up - down)[limit.member].sum(axis=0)) for limit in of.limits
    )
    cost = _cost(of, up, down, content, head, peak, change, given)
    bound = _bound(setting, errors) * kw * money
    reduced = -errors.slope * money
    prices = setting.rows.price * money
    ends = setting.shape.block_start
    change_price = prices[setting.shape.ramp_start :]
    price = prices[:steps].copy()
    if len(change_price):
        price[:-1] += change_price
        price[1:] -= change_price
    scale = kw * money + abs(cost)
    return Optimum(
        proven=bool(abs(cost - bound) <= PROVEN * scale and breach <= KEPT),
        cost=cost,
        bound=bound,
        breach=breach,
        rounds=done,
        up=up,
        down=down,
        content=content,
        head=head,
        peak=peak,
        change=change,
        given=given,
        reduced_up=reduced[:n].reshape(m, steps),
        reduced_down=reduced[n : 2 * n].reshape(m, steps),
        reduced_content=reduced[2 * n : 3 * n].reshape(m, steps),
        reduced_head=reduced[local:slack].reshape(LOCAL, -1)[:, :steps],
        reduced_peak=float(reduced[-1]),
        room_price=reduced[3 * n : local].reshape(m, steps) * kw,
        value=setting.rows.value * money,
        price=price,
        peak_price=reduced[slack : slack + steps],
        change_price=change_price,
        limit_price=tuple(prices[ends[e + 1] : ends[e + 2]] for e in range(len(of.limits))),
    )


def _head(of: Chains, up: Array, down: Array) -> tuple[Array, float]:
    """Import and export as they follow from the devices, and the breach of limits that give no way."""
    drawn = of.demand - (up - down).sum(axis=0)
    head, breach = np.zeros((LOCAL, len(drawn))), 0.0
    for k, (flow, limit) in enumerate(zip(_parted(drawn), (of.import_limit, of.export_limit), strict=True)):
        head[2 * k] = np.minimum(flow, limit)
        beyond = flow - head[2 * k]
        hard = np.isinf(of.penalty)
        breach = max(breach, float(beyond[hard].max(initial=0.0)) / max(1.0, float(np.abs(drawn).max())))
        head[2 * k] += np.where(hard, beyond, 0.0)
        head[2 * k + 1] = np.where(hard, 0.0, beyond)
    return head, breach


def _outside(of: Chains, content: Array) -> float:
    """Largest breach of a band in kWh per kW of the store."""
    outside = np.maximum(of.least - content, content - of.most)
    power = np.maximum(np.maximum(of.most_up, of.most_down).max(axis=1, keepdims=True), 1.0)
    return max(0.0, float((outside / power).max(initial=0.0)))


def _parted(values: Array) -> Array:
    """What is above zero, and what below: (2, ...)."""
    return np.stack([np.maximum(values, 0.0), np.maximum(-values, 0.0)])


def _given(least: Array, most: Array, total: Array) -> Array:
    """(2, n) kW by which a sum (T,) is below and above a limit's bounds."""
    total = total[: len(most)]
    return np.stack([np.maximum(least - total, 0.0), np.maximum(total - most, 0.0)])


def _cost(
    of: Chains,
    up: Array,
    down: Array,
    content: Array,
    head: Array,
    peak: float,
    change: Array,
    given: tuple[Array, ...],
) -> float:
    """Money of a schedule and of all that follows from it."""
    gives = np.where(np.isfinite(of.penalty), of.penalty, 0.0)
    cost = float((of.cost_up * up).sum() + (of.cost_down * down).sum() - (of.worth * content[:, -1]).sum())
    cost += float(of.buy @ (head[0] + head[1]) - of.sell @ (head[2] + head[3]) + gives @ (head[1] + head[3]))
    cost += of.peak_price * peak + of.change_price * float(change.sum())
    return cost + sum(
        float((limit.penalty * rows).sum()) for limit, rows in zip(of.limits, given, strict=True)
    )


def _bound(setting: Setting, errors: Errors) -> float:
    """Least cost when every row is paid for at its price and every column answers for itself."""
    m, steps = setting.shape.effect_up.shape
    n, rows = m * steps, setting.rows
    slack = 4 * n + LOCAL * setting.shape.rows
    answers = np.minimum(-errors.slope, 0.0) * setting.top
    answers[3 * n : 4 * n] = -setting.columns.lower[3 * n : 4 * n]
    answers[slack : slack + steps] = -rows.so_far * setting.columns.lower[slack : slack + steps]
    stored = float((rows.value * (rows.floor[:, :-1] - rows.floor[:, 1:])).sum())
    return float(answers.sum()) + stored + float(rows.price @ rows.demand) + setting.fixed_cost
