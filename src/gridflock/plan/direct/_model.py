"""The one problem: every goal as a block of columns and rows.

Per group and step ``up`` and ``down``; per store and step its level ``x``; per step import and
export at the head, each split at its limit into a part inside and a part beyond; one peak.
Columns whose bound is zero are left out, and a store gets slack on its band only where it cannot
keep the band by itself, so the usual problem stays small.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from gridflock.model import Envelope, Flexibility
from gridflock.plan._terms import Terms, default_end_value, premiums
from gridflock.plan.direct._by_chains import chains_of, solution_of
from gridflock.plan.direct._rows import Placed, placed
from gridflock.plan.direct._solve import Floats, Indices, Program, Solution
from gridflock.units import Kw, Mask

_BAND_MARGIN_KWH = 1e-6
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class GroupRows:
    """The rows of one envelope: step numbers, row numbers, slack columns below and above, groups (G,)."""

    limit: Envelope
    steps: Indices
    rows: Indices
    under: Indices
    over: Indices
    member: Mask


@dataclass(slots=True, eq=False)
class Model:
    """A program and where each wish stands in it; column numbers are -1 where left out."""

    program: Program
    up: Indices  # (G, T)
    down: Indices  # (G, T)
    balance: Indices = field(default_factory=lambda: _NONE)  # (T,) rows
    inside: Indices = field(default_factory=lambda: _NONE)  # (2, T) import, export up to the limit
    beyond: Indices = field(default_factory=lambda: _NONE)  # (2, T) beyond it
    peak: Indices = field(default_factory=lambda: _NONE)  # (1,) or empty
    peak_rows: Indices = field(default_factory=lambda: _NONE)  # (T,) or empty
    change: Indices = field(default_factory=lambda: np.empty((2, 0), dtype=np.int64))  # (2, T - 1)
    change_rows: Indices = field(default_factory=lambda: _NONE)  # (T - 1,) or empty
    stores: Indices = field(default_factory=lambda: _NONE)  # (K,) groups with a band
    level: Indices = field(default_factory=lambda: _NONE)  # (K, T) columns of x[1:]
    level_rows: Indices = field(default_factory=lambda: _NONE)  # (K, T)
    strained: Indices = field(default_factory=lambda: _NONE)  # (M,) groups whose band must give
    band_rows: Indices = field(default_factory=lambda: _NONE)  # (M, T)
    band_slack: Indices = field(default_factory=lambda: _NONE)  # (2, M, T) below, above
    group_rows: list[GroupRows] = field(default_factory=list)
    blocks: list[Placed] = field(default_factory=list)


def build(flexibility: Flexibility, fixed_kw: Kw, terms: Terms) -> Model:
    """The problem as arrays; input must have passed ``sound``."""
    program, hours = Program(), flexibility.grid.hours
    premium = premiums(flexibility, terms)
    up = _kept(program, flexibility.up_kw, (flexibility.cost_up[:, None] - premium) * hours)
    down = _kept(program, flexibility.down_kw, (flexibility.cost_down[:, None] + premium) * hours)
    model = Model(program, up, down)
    _head(model, flexibility, fixed_kw, terms)
    _stores(model, flexibility, terms)
    for limit in terms.group_limits:
        _group_limit(model, flexibility, terms, limit)
    model.blocks = placed(program, up, down, flexibility, terms)
    chains = chains_of(model, flexibility, terms)
    if chains is not None:
        program.shortcut = partial(solution_of, model, chains, program.size)
    return model


def values_of(columns: Indices, solution: Solution) -> Floats:
    """Solved values in the shape of ``columns``; 0 where a column was left out."""
    if not solution.value.size:
        return np.zeros(columns.shape)
    return np.where(columns >= 0, solution.value[columns], 0.0)


def band_penalty(terms: Terms) -> float:
    """Money per kWh and step a band gives way: dearer than any limit or price."""
    dearest = max(terms.limit_penalty, float(np.abs(terms.import_price).max()), 1.0)
    return 20.0 * dearest


def strained_stores(flexibility: Flexibility) -> Mask:
    """Groups (G,) that cannot keep their band whatever they do.

    The levels reachable at a step are an interval; carried forward and cut to the band it stays
    exact, because power bounds are independent between steps.
    """
    f, hours = flexibility, flexibility.grid.hours
    by_up = f.gain_up[:, None] * f.up_kw * hours
    by_down = f.gain_down[:, None] * f.down_kw * hours
    fall = np.minimum(by_up, 0.0) + np.minimum(by_down, 0.0)
    rise = np.maximum(by_up, 0.0) + np.maximum(by_down, 0.0)
    low = np.zeros(len(f.groups))
    high = np.zeros(len(f.groups))
    failed = np.zeros(len(f.groups), dtype=bool)
    for t in range(f.grid.n):
        low = np.maximum(low + fall[:, t], f.x_lo_kwh[:, t + 1])
        high = np.minimum(high + rise[:, t], f.x_hi_kwh[:, t + 1])
        failed |= low > high - _BAND_MARGIN_KWH * (f.x_lo_kwh[:, t + 1] < f.x_hi_kwh[:, t + 1])
    return failed


def _kept(program: Program, bound: Kw, cost: Floats) -> Indices:
    """Columns in ``[0, bound]`` where the bound leaves room; -1 elsewhere."""
    numbers = np.full(bound.shape, -1, dtype=np.int64)
    room = bound > 0
    numbers[room] = program.columns(cost[room], 0.0, bound[room])
    return numbers


def _head(model: Model, f: Flexibility, fixed_kw: Kw, terms: Terms) -> None:
    """Import and export of every step, inside and beyond their limits, and the balance that joins all."""
    program, hours = model.program, f.grid.hours
    price = np.stack([terms.import_price, -terms.export_price]) * hours
    limit = np.stack([terms.import_limit_kw, terms.export_limit_kw])
    model.inside = program.columns(price, 0.0, limit)
    model.beyond = np.full(limit.shape, -1, dtype=np.int64)
    limited = np.isfinite(limit)
    model.beyond[limited] = program.columns((price + terms.limit_penalty * hours)[limited], 0.0, np.inf)
    demand = -(fixed_kw + f.base_kw.sum(axis=0))
    model.balance = program.rows(demand, demand)
    direction = np.array([[1.0], [-1.0]])
    program.put(model.balance, model.inside, direction)
    program.put(model.balance, model.beyond, direction)
    program.put(model.balance, model.up, 1.0)
    program.put(model.balance, model.down, -1.0)
    if terms.peak_price > 0:
        _peak(model, terms, f.grid.n)
    if terms.ramp_penalty > 0 and f.grid.n > 1:
        _ramp(model, terms, f.grid.n)


def _peak(model: Model, terms: Terms, n: int) -> None:
    """One column, at least the import of every step."""
    program = model.program
    # Counted from the peak already paid for, so that the objective holds only what is new.
    model.peak = program.columns(np.array([terms.peak_price]), 0.0, np.inf)
    model.peak_rows = program.rows(np.full(n, -terms.peak_so_far_kw), np.full(n, np.inf))
    program.put(model.peak_rows, model.peak, 1.0)
    program.put(model.peak_rows, model.inside[0], -1.0)
    program.put(model.peak_rows, model.beyond[0], -1.0)


def _ramp(model: Model, terms: Terms, n: int) -> None:
    """Rows on the change of the head's flow between steps, each way at a price."""
    program = model.program
    change = program.columns(np.full((2, n - 1), terms.ramp_penalty), 0.0, np.inf)
    rows = program.rows(np.zeros(n - 1), np.zeros(n - 1))
    model.change, model.change_rows = change, rows
    program.put(rows, change, np.array([[1.0], [-1.0]]))
    for columns in (model.inside, model.beyond):
        direction = np.array([[1.0], [-1.0]])
        program.put(rows, columns[:, 1:], direction)
        program.put(rows, columns[:, :-1], -direction)


def _stores(model: Model, f: Flexibility, terms: Terms) -> None:
    """Levels after every step, kWh, in their bands, with the rows that carry them on."""
    bounded = (np.isfinite(f.x_lo_kwh[:, 1:]) | np.isfinite(f.x_hi_kwh[:, 1:])).any(axis=1)
    moves = ((f.gain_up != 0) & (f.up_kw.max(axis=1) > 0)) | (
        (f.gain_down != 0) & (f.down_kw.max(axis=1) > 0)
    )
    strained = strained_stores(f)
    model.stores = np.flatnonzero((bounded & moves) | strained)
    if not model.stores.size:
        return
    s, program, hours = model.stores, model.program, f.grid.hours
    end_value = default_end_value(f, terms)
    for g, group in enumerate(f.groups):
        end_value[g] = terms.end_value.get(group, end_value[g])
    cost = np.zeros((len(s), f.grid.n))
    cost[:, -1] = -end_value[s]
    gives = strained[s][:, None]
    lo = np.where(gives, -np.inf, f.x_lo_kwh[s, 1:])
    hi = np.where(gives, np.inf, f.x_hi_kwh[s, 1:])
    model.level = program.columns(cost, lo, hi)
    zero = np.zeros(model.level.shape)
    rows = model.level_rows = program.rows(zero, zero)
    program.put(rows, model.level, 1.0)
    program.put(rows[:, 1:], model.level[:, :-1], -1.0)
    program.put(rows, model.up[s], -f.gain_up[s, None] * hours)
    program.put(rows, model.down[s], -f.gain_down[s, None] * hours)
    _strained_bands(model, f, terms, strained)


def _strained_bands(model: Model, f: Flexibility, terms: Terms, strained: Mask) -> None:
    """Bands that a store cannot keep by itself, as rows with slack both ways."""
    model.strained = np.flatnonzero(strained)
    if not model.strained.size:
        return
    program, m = model.program, model.strained
    model.band_rows = program.rows(f.x_lo_kwh[m, 1:], f.x_hi_kwh[m, 1:])
    slack_cost = np.full((2, *model.band_rows.shape), band_penalty(terms))
    model.band_slack = program.columns(slack_cost, 0.0, np.inf)
    program.put(model.band_rows, model.level[np.isin(model.stores, m)], 1.0)
    program.put(model.band_rows, model.band_slack, np.array([1.0, -1.0])[:, None, None])


def _group_limit(model: Model, f: Flexibility, terms: Terms, limit: Envelope) -> None:
    """One envelope's rows over the steps it is valid for, with slack both ways."""
    program = model.program
    steps = np.flatnonzero(f.grid.starts_s < limit.until_s)
    names = set(terms.members.get(limit.group, (limit.group,)))
    member = np.array([group in names for group in f.groups], dtype=bool)
    rows_of = np.flatnonzero(member)
    if not steps.size or not rows_of.size or not np.isfinite([limit.p_lo_kw, limit.p_hi_kw]).any():
        return
    base = f.base_kw[np.ix_(rows_of, steps)].sum(axis=0)
    # Crossed bounds: the row becomes the upper one; the lower one then needs a row of its own.
    bounds = [(limit.p_lo_kw, limit.p_hi_kw)]
    if limit.p_lo_kw > limit.p_hi_kw:
        bounds = [(limit.p_lo_kw, np.inf), (-np.inf, limit.p_hi_kw)]
    cost = terms.limit_penalty * f.grid.hours[steps]
    for lo, hi in bounds:
        rows = program.rows(lo - base, hi - base)
        under, over = program.columns(cost, 0.0, np.inf), program.columns(cost, 0.0, np.inf)
        program.put(rows, under, 1.0)
        program.put(rows, over, -1.0)
        program.put(rows, model.up[np.ix_(rows_of, steps)], 1.0)
        program.put(rows, model.down[np.ix_(rows_of, steps)], -1.0)
        model.group_rows.append(GroupRows(limit, steps, rows, under, over, member))
