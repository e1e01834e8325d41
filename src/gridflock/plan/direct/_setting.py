"""Chains as columns and rows in their own scale, and the point to begin from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.plan.devices._compiled import Array
from gridflock.plan.direct._chains import Chains
from gridflock.plan.direct._interior import Columns, Rows
from gridflock.plan.direct._newton import LOCAL, Shape
from gridflock.units import Mask

START = 0.1
"""Product of a column and its bound's price at the beginning, in the problem's scale."""
NARROW = 1e-8
"""Columns narrower than this are held."""
HEAD, LIMIT, CHANGE = 0, 1, 2
"""Kinds of shared rows; see ``LOCAL_SIGN``."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A problem in the form that is iterated on.

    Attributes:
        shape: what stays the same.
        columns: where to begin.
        rows: what they want, and their first prices.
        kw: kW per unit of power; contents are in kWh per ``kw``.
        money: money per unit of cost and unit of power.
        top: (columns,) upper bounds, counted from the lower ones.
        fixed_cost: of the contents' lower bounds and of limits out of reach, in the problem's scale.
        forced: (m, T) steps of a store without room whose only direction of flow is closed: no point
            inside its bounds would keep the row, and no finite price be its own.
    """

    shape: Shape
    columns: Columns
    rows: Rows
    kw: float
    money: float
    top: Array
    fixed_cost: float
    forced: Mask


def setting_of(of: Chains) -> Setting:
    """Scale, count from lower bounds, and bound every column twice: where none is, beyond any optimum."""
    m, steps = of.most_up.shape
    kw, money = _scale(of)
    floor, width = _contents(of, kw)
    shape = _shape(of, kw)
    local_cost, local_top, demand = _shared_rows(of, shape.rows)
    worth = np.zeros((m, steps))
    worth[:, -1] = of.worth
    none, steps_none = np.zeros(m * steps), np.zeros(steps)
    peak_top = _far(of) if shape.peaked else 0.0
    cost = _line(of.cost_up, of.cost_down, -worth, none, local_cost, steps_none, of.peak_price) / money
    top = _line(of.most_up, of.most_down, width, none, local_top, steps_none, peak_top) / kw
    top[top < NARROW] = 0.0
    forced = _forced(of, floor, width)
    top[: 2 * m * steps][np.tile(forced.ravel(), 2)] = 0.0
    live, capped = _bounded(shape, top)
    value = _start(of, shape, top, floor / kw, kw)
    # What costs much begins small: its bound's price then is what it costs.
    dear = slice(4 * m * steps, -steps - 1)
    value[dear] = np.minimum(value[dear], START / np.maximum(cost[dear], START))
    columns = _columns(cost, value, top, live, capped)
    if shape.peaked:
        # The steps share what the peak costs.
        columns.lower[-steps - 1 : -1] = np.maximum(columns.lower[-steps - 1 : -1], cost[-1] / steps)
    price = np.zeros(shape.rows)
    price[:steps] = 0.5 * (of.buy + of.sell) / money
    rows = Rows(
        floor / kw, demand / kw, of.so_far / kw, np.tile(of.worth[:, None] / money, (1, steps)), price
    )
    fixed = (_unavoidable(of) - float((of.worth * floor[:, -1]).sum())) / (kw * money)
    return Setting(shape, columns, rows, kw, money, top, fixed, forced)


def _line(*parts: Array | float) -> Array:
    """All blocks of columns one after the other."""
    return np.concatenate([np.ravel(part) for part in parts])


def _scale(of: Chains) -> tuple[float, float]:
    """Units of the scaled problem: the largest power, kW, and the dearest price, money per kW."""
    power = max(of.most_up.max(initial=0.0), of.most_down.max(initial=0.0), 1e-3 * np.abs(of.demand).max())
    prices = (of.buy, of.sell, of.cost_up, of.cost_down)
    money = max(float(np.abs(price).max(initial=0.0)) for price in prices)
    return float(power) or 1.0, money or of.peak_price or 1.0


def _far(of: Chains) -> float:
    """More kW than the head can ever see."""
    moved = np.maximum(of.most_up, of.most_down).sum(axis=0)
    return float((np.abs(of.demand) + moved).max()) * 1.5 + _scale(of)[0]


def _contents(of: Chains, kw: float) -> tuple[Array, Array]:
    """Lower bounds (m, T + 1), the content now first, and widths (m, T) of the bands."""
    reach = np.maximum(np.abs(of.effect_up) * of.most_up, np.abs(of.effect_down) * of.most_down)
    span = (np.abs(of.content) + 2.0 * reach.sum(axis=1) + kw)[:, None]
    least = np.maximum(of.least, of.content[:, None] - span)
    most = np.minimum(of.most, of.content[:, None] + span)
    width = most - least
    held = width < NARROW * kw
    least = np.where(held, 0.5 * (least + most), least)
    return np.hstack([of.content[:, None], least]), np.where(held, 0.0, width)


def _forced(of: Chains, floor: Array, width: Array) -> Mask:
    """(m, T) ``Setting.forced``."""
    held = np.hstack([np.ones((len(width), 1), dtype=bool), width == 0])
    still = held[:, :-1] & held[:, 1:] & (floor[:, :-1] == floor[:, 1:])
    up, down = of.effect_up * (of.most_up > 0), of.effect_down * (of.most_down > 0)
    one_way = ((np.minimum(up, down) >= 0) | (np.maximum(up, down) <= 0)) & ((up != 0) | (down != 0))
    # A flow that moves no content is free whatever the store does.
    moves = ((of.effect_up != 0) | (of.most_up == 0)) & ((of.effect_down != 0) | (of.most_down == 0))
    forced: Mask = still & one_way & moves
    return forced


def _shape(of: Chains, kw: float) -> Shape:
    """What stays while iterating; devices that count in the same limits are of one kind."""
    steps = len(of.demand)
    ends = np.cumsum([0, steps, *(len(limit.most) for limit in of.limits)])
    counted = np.ones((len(of.worth), 1 + len(of.limits)), dtype=bool)
    for e, limit in enumerate(of.limits):
        counted[:, e + 1] = limit.member
    kinds, kind = np.unique(counted, axis=0, return_inverse=True)
    if not len(kinds):
        kinds = np.ones((1, counted.shape[1]), dtype=bool)
    row_kind = np.full(of.rows, CHANGE, dtype=np.int64)
    row_kind[: ends[-1]] = LIMIT
    row_kind[:steps] = HEAD
    both = of.exclusive[:, None] & (of.most_up > NARROW * kw) & (of.most_down > NARROW * kw)
    share_up = np.divide(kw, of.most_up, out=np.zeros_like(of.most_up), where=both)
    share_down = np.divide(kw, of.most_down, out=np.zeros_like(of.most_down), where=both)
    return Shape(
        of.effect_up,
        of.effect_down,
        share_up,
        share_down,
        kind.ravel().astype(np.int64),
        kinds,
        ends.astype(np.int64),
        int(ends[-1]),
        of.rows,
        row_kind,
        of.peak_price > 0,
    )


def _shared_rows(of: Chains, rows: int) -> tuple[Array, Array, Array]:
    """Costs and bounds (4, rows) of the local columns, and what each row asks for (rows,)."""
    steps, far = len(of.demand), _far(of)
    cost, top, demand = np.zeros((LOCAL, rows)), np.zeros((LOCAL, rows)), np.zeros(rows)
    demand[:steps] = of.demand
    sides = ((of.buy, of.import_limit), (-of.sell, of.export_limit))
    for k, (price, bound) in enumerate(sides):
        gives = np.isfinite(of.penalty) & np.isfinite(bound)
        cost[2 * k, :steps], top[2 * k, :steps] = price, np.minimum(bound, far)
        cost[2 * k + 1, :steps] = np.where(gives, price + np.where(gives, of.penalty, 0.0), 0.0)
        top[2 * k + 1, :steps] = np.where(gives, far, 0.0)
    at = steps
    for limit in of.limits:
        here = slice(at, at + len(limit.most))
        least, most = np.clip(limit.least, -far, far), np.clip(limit.most, -far, far)
        # A bound nobody can reach moves to where it is felt alike; see ``_unavoidable``.
        cost[:2, here], top[:2, here] = limit.penalty, 2.0 * far
        top[2, here], demand[here] = most - least, least
        at = here.stop
    if at < rows:
        cost[:2, at:], top[:2, at:], demand[at:] = of.change_price, 2.0 * far, -np.diff(of.demand)
    return cost, top, demand


def _unavoidable(of: Chains) -> float:
    """What limits cost that lie beyond all anybody can do, counted from there."""
    far, cost = _far(of), 0.0
    for limit in of.limits:
        beyond = np.where(np.isfinite(limit.least), np.maximum(limit.least - far, 0.0), 0.0)
        beyond += np.where(np.isfinite(limit.most), np.maximum(-far - limit.most, 0.0), 0.0)
        cost += float(limit.penalty @ beyond)
    return cost


def _bounded(shape: Shape, top: Array) -> tuple[Mask, Mask]:
    """Which columns may move, and which of them have an upper bound of their own."""
    m, steps = shape.effect_up.shape
    n, slack = m * steps, 4 * m * steps + LOCAL * shape.rows
    live = top > 0
    capped = live.copy()
    exclusive = (shape.share_up > 0).ravel()
    capped[:n] &= ~exclusive
    capped[n : 2 * n] &= ~exclusive
    live[3 * n : 4 * n] = exclusive
    live[slack : slack + steps] = shape.peaked
    return live, capped


def _start(of: Chains, shape: Shape, top: Array, floor: Array, kw: float) -> Array:
    """A point well inside all bounds: flows in the middle, the head as it then is."""
    m, steps = shape.effect_up.shape
    n, rows = m * steps, shape.rows
    local, slack = 4 * n, 4 * n + LOCAL * rows
    value = 0.5 * top
    exclusive = (shape.share_up > 0).ravel()
    for flow in (value[:n], value[n : 2 * n]):
        flow[exclusive] *= 2.0 / 3.0
    value[3 * n : 4 * n] = 1.0 / 3.0
    up, down = value[:n].reshape(m, steps), value[n : 2 * n].reshape(m, steps)
    moved = (shape.effect_up * up + shape.effect_down * down).cumsum(axis=1) + floor[:, :1]
    width = top[2 * n : 3 * n]
    value[2 * n : 3 * n] = np.clip((moved - floor[:, 1:]).ravel(), 0.1 * width, 0.9 * width)
    net = of.demand / kw - (up - down).sum(axis=0)
    head, high = value[local:slack].reshape(LOCAL, rows), top[local:slack].reshape(LOCAL, rows)
    near = np.minimum(high, 1.0)
    head[:] = 0.5 * near
    for k, wanted in ((0, net), (2, -net)):
        least = 0.1 * near[k, :steps]
        head[k, :steps] = np.clip(wanted, least, high[k, :steps] - least)
    if shape.peaked:
        bought = head[0, :steps] + head[1, :steps] - of.so_far / kw
        value[-1] = np.clip(bought.max() + 0.5, 0.1 * min(top[-1], 1.0), top[-1] - 0.1 * min(top[-1], 1.0))
        value[slack : slack + steps] = np.maximum(value[-1] - bought, 0.5)
    return value


def _columns(cost: Array, value: Array, top: Array, live: Mask, capped: Mask) -> Columns:
    """The columns at their start, with prices of the bounds that make products of ``START``."""
    # Held columns stay at next to nothing: quotients with them are 0 and need no question.
    value = np.where(live, value, 1e-300)
    left = np.where(capped, top - value, 1.0)
    lower = np.where(live, START / np.maximum(value, 1e-4), 0.0)
    upper = np.where(capped, START / np.maximum(left, 1e-4), 0.0)
    return Columns(cost, value, left, lower, upper, live.astype(np.float64), capped.astype(np.float64))
