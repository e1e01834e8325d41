"""Bands, peaks, ramps and shares of any goal as columns and rows of the program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._terms import Band, Block, Flow, Peak, Ramp, Share, Terms
from gridflock.plan.direct._solve import Floats, Indices, Program


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where one block stands in the program.

    Attributes:
        block: what was placed.
        columns: int64 (C,) its own columns: slacks, the peak, the segments.
        cost: (C,) money per unit of each.
        rows: int64 (R,).
        steps: int64 (R,) step of each row; of a ramp that into which it leads, of a share the first.
        slack: int64 (K, R) columns by which each row may give, -1 for none.
    """

    block: Block
    columns: Indices
    cost: Floats
    rows: Indices
    steps: Indices
    slack: Indices


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """What a block is placed into."""

    program: Program
    up: Indices
    down: Indices
    flexibility: Flexibility

    def put(self, rows: Indices, flow: Flow, steps: Indices, sign: Floats) -> None:
        """``sign`` times the moved part of the flow at ``steps`` into ``rows``, all (R,)."""
        members, share = flow.rows_of(self.flexibility)
        weight = flow.moves * share[:, None] * sign
        where = np.ix_(members, steps)
        self.program.put(rows, self.up[where], weight)
        self.program.put(rows, self.down[where], -weight)

    def rest_kw(self, flow: Flow) -> Floats:
        """(T,) the flow where nobody moves."""
        return flow.power_kw(self.flexibility, self.flexibility.base_kw)


def placed(program: Program, up: Indices, down: Indices, f: Flexibility, terms: Terms) -> list[Placed]:
    """Every block of the terms, added to the program.

    Args:
        program: what to add to.
        up: (G, T) columns of the groups' upward moves, -1 where left out.
        down: (G, T) of the downward ones.
        f: whose groups move.
        terms: with the blocks.
    """
    site = _Site(program, up, down, f)
    return [_placed(site, block) for block in terms.blocks]


def _placed(site: _Site, block: Block) -> Placed:
    match block:
        case Band():
            return _band(site, block)
        case Peak():
            return _peak(site, block)
        case Ramp():
            return _ramp(site, block)
        case Share():
            return _share(site, block)


def _band(site: _Site, band: Band) -> Placed:
    program, rest = site.program, site.rest_kw(band.flow)
    # One row per side and step: crossed bounds then need no case of their own.
    low, high = np.flatnonzero(np.isfinite(band.lo_kw)), np.flatnonzero(np.isfinite(band.hi_kw))
    steps = np.concatenate([low, high])
    sign = np.repeat([1.0, -1.0], [len(low), len(high)])
    bound = np.concatenate([band.lo_kw[low], band.hi_kw[high]])
    rows = program.rows(sign * (bound - rest[steps]), np.full(len(steps), np.inf))
    cost = np.where(sign > 0, band.under_price, band.over_price) * site.flexibility.grid.hours[steps]
    slack = program.columns(cost, 0.0, np.inf)
    program.put(rows, slack, 1.0)
    site.put(rows, band.flow, steps, sign)
    return Placed(band, slack, cost, rows, steps, slack[None])


def _peak(site: _Site, peak: Peak) -> Placed:
    program, steps = site.program, np.flatnonzero(peak.steps)
    cost = np.array([peak.price])
    column = program.columns(cost, 0.0, np.inf)
    need = -(site.rest_kw(peak.flow)[steps]) - peak.so_far_kw
    rows = program.rows(need, np.full(len(steps), np.inf))
    program.put(rows, column, 1.0)
    site.put(rows, peak.flow, steps, np.ones(len(steps)))
    return Placed(peak, column, cost, rows, steps, np.full((1, len(steps)), -1))


def _ramp(site: _Site, ramp: Ramp) -> Placed:
    program, rest = site.program, site.rest_kw(ramp.flow)
    into = np.flatnonzero(np.isfinite(ramp.limits_kw))
    later = into[into > 0]
    limit, change = ramp.limits_kw[into], ramp.change_kw(rest)[into]
    cost = np.full((2, len(into)), ramp.price)
    slack = program.columns(cost, 0.0, np.inf)
    rows = program.rows(-limit - change, limit - change)
    program.put(rows, slack, np.array([[1.0], [-1.0]]))
    site.put(rows, ramp.flow, into, np.ones(len(into)))
    site.put(rows[into > 0], ramp.flow, later - 1, -np.ones(len(later)))
    return Placed(ramp, slack.ravel(), cost.ravel(), rows, into, slack)


def _share(site: _Site, share: Share) -> Placed:
    program, f = site.program, site.flexibility
    steps = np.flatnonzero(share.sign)
    weight = share.sign[steps] * f.grid.hours[steps]
    # Segments as bounded columns: their falling slopes fill them in order. Then what is beyond all of
    # them, and what is missing to none.
    cost = np.concatenate([-share.slope, [0.0, share.slope[0]]])
    wide = np.concatenate([share.width_kwh, [np.inf, np.inf]])
    columns = program.columns(cost, 0.0, wide)
    at_rest = np.array([-(site.rest_kw(share.flow)[steps] @ weight)])
    row = program.rows(at_rest, at_rest)
    program.put(row, columns, np.append(-np.ones(len(wide) - 1), 1.0))
    site.put(np.repeat(row, len(steps)), share.flow, steps, weight)
    return Placed(share, columns, cost, row, steps[:1], np.full((1, 1), -1))
