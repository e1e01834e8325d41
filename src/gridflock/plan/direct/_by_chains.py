"""The plan's problem as chains, and their optimum as a solution of its program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._terms import Terms
from gridflock.plan.direct._chains import Chains, Limit
from gridflock.plan.direct._optimum import Optimum, optimum
from gridflock.plan.direct._solve import Floats, Indices, Program, Solution

if TYPE_CHECKING:
    from gridflock.plan.direct._model import Model

ROWS = 400
"""Most rows that sum over groups: they make a dense matrix."""


def chains_of(model: Model, f: Flexibility, terms: Terms) -> Chains | None:
    """The same problem as chains; None where it does not fit.

    Bands that give way, further blocks of rows and very many limits do not.
    """
    program, hours = model.program, f.grid.hours
    if model.strained.size or model.blocks:
        return None
    cost, lo, hi = program.joined_columns()
    stored = np.zeros(len(f.groups), dtype=bool)
    stored[model.stores] = True
    g, n = len(f.groups), f.grid.n
    least, most, worth = np.full((g, n), -np.inf), np.full((g, n), np.inf), np.zeros(g)
    if model.stores.size:
        least[model.stores], most[model.stores] = lo[model.level], hi[model.level]
        worth[model.stores] = -cost[model.level[:, -1]]
    row_lo, row_hi = program.joined_rows()
    limits = tuple(
        Limit(block.member, row_lo[block.rows], row_hi[block.rows], cost[block.over])
        for block in model.group_rows
    )
    found = Chains(
        most_up=np.where(model.up >= 0, f.up_kw, 0.0),
        most_down=np.where(model.down >= 0, f.down_kw, 0.0),
        cost_up=_there(model.up, cost),
        cost_down=_there(model.down, cost),
        effect_up=np.where(stored[:, None], f.gain_up[:, None] * hours, 0.0),
        effect_down=np.where(stored[:, None], f.gain_down[:, None] * hours, 0.0),
        content=np.zeros(g),
        least=least,
        most=most,
        worth=worth,
        exclusive=np.zeros(g, dtype=bool),
        demand=row_lo[model.balance],
        buy=terms.import_price * hours,
        sell=terms.export_price * hours,
        import_limit=terms.import_limit_kw,
        export_limit=terms.export_limit_kw,
        penalty=terms.limit_penalty * hours,
        peak_price=terms.peak_price,
        so_far=terms.peak_so_far_kw,
        change_price=terms.ramp_penalty,
        limits=limits,
    )
    return found if found.rows <= ROWS else None


def solution_of(
    model: Model, chains: Chains, size: tuple[int, int, int], program: Program
) -> Solution | None:
    """The optimum, where proven, in the program's columns and rows.

    Args:
        model: what the chains were made of.
        chains: its problem.
        size: of its program at that time.
        program: what is asked to be solved; None is the answer to any other.
    """
    if program is not model.program or program.size != size:
        return None
    found = optimum(chains)
    if not found.proven:
        return None
    value, reduced, price = np.zeros(program.n_cols), np.zeros(program.n_cols), np.zeros(program.n_rows)
    for columns, at, worth in _columns(model, found):
        there = columns >= 0
        value[columns[there]], reduced[columns[there]] = at[there], worth[there]
    price[model.balance] = found.price
    if model.stores.size:
        price[model.level_rows] = found.value[model.stores]
    price[model.peak_rows] = found.peak_price[: len(model.peak_rows)]
    price[model.change_rows] = found.change_price[: len(model.change_rows)]
    for block, paid in zip(model.group_rows, found.limit_price, strict=True):
        price[block.rows] = paid
    return Solution("Optimal", found.cost, value, reduced, price, by="chains")


def _columns(model: Model, found: Optimum) -> list[tuple[Indices, Floats, Floats]]:
    """Numbers, values and reduced costs of every block of columns."""
    cost = model.program.joined_columns()[0]
    peak = np.array([found.peak])[: model.peak.size]
    blocks = [
        (model.up, found.up, found.reduced_up),
        (model.down, found.down, found.reduced_down),
        (model.inside, found.head[::2], found.reduced_head[::2]),
        (model.beyond, found.head[1::2], found.reduced_head[1::2]),
        (model.peak, peak, np.full(peak.shape, found.reduced_peak)),
    ]
    if model.stores.size:
        blocks.append((model.level, found.content[model.stores], found.reduced_content[model.stores]))
    if model.change.size:
        paid = np.stack([found.change_price, -found.change_price])
        blocks.append((model.change, found.change, cost[model.change] - paid))
    for block, given, paid in zip(model.group_rows, found.given, found.limit_price, strict=True):
        blocks.append((block.under, given[0], cost[block.under] - paid))
        blocks.append((block.over, given[1], cost[block.over] + paid))
    return blocks


def _there(columns: Indices, of: Floats) -> Floats:
    """Per column, 0 where one was left out."""
    return np.where(columns >= 0, of[columns], 0.0) if of.size else np.zeros(columns.shape)
