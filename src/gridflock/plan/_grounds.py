"""What a plan's numbers rest on: every price that adds up to a group's local price, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Flexibility, Json
from gridflock.plan._reason import HEAD
from gridflock.plan._terms import Band, Peak, Ramp, Share, Terms, default_end_value
from gridflock.plan.direct import Floats, Indices, Model, Solution, band_penalty, values_of
from gridflock.plan.direct._rows import Placed
from gridflock.units import Kw, Money, TimeGrid

IMPORT_TARIFF = "import tariff"
EXPORT_TARIFF = "export tariff"
PEAK = "import peak (demand charge)"
CALM = "change of the head's flow"
NEITHER = "neither import nor export at the head"
OWNER = "the owner's own tariff"
_FREE = 1e-6
"""Money per kWh below which a limit's price is the solver's noise and left out."""
_IDLE_KW = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One summand of local prices.

    Attributes:
        name: tariff or limit in words.
        rows: (M,) groups whose price it is part of.
        share: (M,) by how much of ``price``.
        price: (T,) money per kWh injected: an import limit raises it, an export limit lowers it.
    """

    name: str
    rows: Indices
    share: Floats
    price: Money


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Energy that a goal has stores hold: why their lower edge is raised.

    Attributes:
        name: the goal in words.
        rows: (M,) groups whose edge it raises.
        edges: (K,) edges of the grid at which it does.
    """

    name: str
    rows: Indices
    edges: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Grounds:
    """A plan with the prices behind it: all that ``explain`` needs.

    Attributes:
        flexibility: what the groups could do in the program; 0 where a direction was held.
        p_kw: (G, T) planned injection.
        end_value: (G,) money per kWh left in store.
        parts: what local prices are the sum of.
        band_penalty: money per kWh and step by which the band of a group gives way that cannot keep it.
        kept: goals that have stores hold energy.
    """

    flexibility: Flexibility
    p_kw: Kw
    end_value: Money
    parts: tuple[Part, ...]
    band_penalty: float = 200.0
    kept: tuple[Kept, ...] = ()

    def keeps(self, row: int, edge: int) -> tuple[str, ...]:
        """Goals for which a group holds energy at an edge of the grid."""
        return tuple(k.name for k in self.kept if (k.rows == row).any() and (k.edges == edge).any())

    def of(self, row: int) -> tuple[tuple[str, Money], ...]:
        """Name and (T,) price of every part of one group's local price."""
        return tuple(
            (part.name, float(part.share[at[0]]) * part.price)
            for part in self.parts
            if (at := np.flatnonzero(part.rows == row)).size
        )

    def price(self, row: int) -> Money:
        """(T,) local price of a group, money per kWh injected: the sum of its parts."""
        total = np.zeros(self.flexibility.grid.n)
        for _, price in self.of(row):
            total += price
        return total

    def prices(self) -> Money:
        """(G, T) local prices of all groups."""
        total = np.zeros(self.p_kw.shape)
        for part in self.parts:
            total[part.rows] += part.share[:, None] * part.price
        return total


def grounds_of(
    model: Model, solution: Solution, flexibility: Flexibility, fixed_kw: Kw, terms: Terms
) -> Grounds:
    """The grounds of a solved program.

    Duals of a degenerate optimum are not unique: these are the solver's, and everything said of the plan
    is said with this one set.

    Args:
        model: the program.
        solution: its optimum.
        flexibility: what it was built of, sound.
        fixed_kw: (T,) sound.
        terms: sound.
    """
    f = flexibility
    p_kw = f.base_kw + values_of(model.up, solution) - values_of(model.down, solution)
    end_value = default_end_value(f, terms)
    for g, group in enumerate(f.groups):
        end_value[g] = terms.end_value.get(group, end_value[g])
    parts = [*_head(model, solution, f, fixed_kw + p_kw.sum(axis=0), terms), *_owners(f, terms)]
    parts += _envelopes(model, solution, f, terms)
    parts += _goals(model, solution, f)
    used = replace(
        f, up_kw=np.where(model.up >= 0, f.up_kw, 0.0), down_kw=np.where(model.down >= 0, f.down_kw, 0.0)
    )
    kept = tuple(part for part in parts if np.abs(part.price).max() > _FREE)
    return Grounds(used, p_kw, end_value, kept, band_penalty(terms))


def _head(model: Model, solution: Solution, f: Flexibility, net_kw: Kw, terms: Terms) -> Iterator[Part]:
    """The price at the head as tariff, limits, peak and calm.

    The flow's column holds it: what the balance pays is the column's cost, plus what peak and change rows
    take, less its reduced cost; that is negative at the limit and positive at zero.
    """
    hours, every = f.grid.hours, np.arange(len(f.groups))
    price = solution.row_price[model.balance] / hours
    left = solution.reduced_cost[model.inside] / hours
    out = net_kw > _IDLE_KW
    paid = np.where(out, left[1], -left[0])
    peak = np.zeros(f.grid.n)
    if model.peak.size:
        peak = np.where(out, 0.0, solution.row_price[model.peak_rows] / hours)
    tariff = np.where(out, terms.export_price, terms.import_price)
    pieces = {
        IMPORT_TARIFF: np.where(out, 0.0, terms.import_price),
        EXPORT_TARIFF: np.where(out, terms.export_price, 0.0),
        PEAK: peak,
        HEAD[0]: np.where(~out & (paid > 0), paid, 0.0),
        HEAD[1]: np.where(out & (paid < 0), paid, 0.0),
        NEITHER: np.where(out == (paid > 0), paid, 0.0),
        CALM: price - tariff - peak - paid,
    }
    for name, values in pieces.items():
        yield Part(name, every, np.ones(len(every)), np.where(np.abs(values) > _FREE, values, 0.0))


def _owners(f: Flexibility, terms: Terms) -> Iterator[Part]:
    for g, group in enumerate(f.groups):
        if group in terms.premium:
            yield Part(OWNER, np.array([g]), np.ones(1), np.asarray(terms.premium[group], dtype=np.float64))


def _envelopes(model: Model, solution: Solution, f: Flexibility, terms: Terms) -> Iterator[Part]:
    for block in model.group_rows:
        limit, price = block.limit, np.zeros(f.grid.n)
        price[block.steps] = solution.row_price[block.rows] / f.grid.hours[block.steps]
        names = set(terms.members.get(limit.group, (limit.group,)))
        rows = np.flatnonzero([group in names for group in f.groups])
        yield Part(f"{limit.source} (limit of {limit.group})", rows, np.ones(len(rows)), price)


def _goals(model: Model, solution: Solution, f: Flexibility) -> Iterator[Part]:
    for placed in model.blocks:
        rows, share = placed.block.flow.rows_of(f)
        price = _flow_price(placed, solution.row_price[placed.rows], f.grid)
        yield Part(placed.block.name, rows, share * placed.block.flow.moves, price)


def _flow_price(placed: Placed, paid: Floats, grid: TimeGrid) -> Money:
    """(T,) money per kWh that the rows of a goal pay for injection into its flow."""
    block, steps, money = placed.block, placed.steps, np.zeros(grid.n)
    match block:
        case Band():
            below = int(np.isfinite(block.lo_kw).sum())
            np.add.at(money, steps, np.where(np.arange(len(steps)) < below, paid, -paid))
        case Peak():
            money[steps] = paid
        case Ramp():
            np.add.at(money, steps, paid)
            np.add.at(money, steps[steps > 0] - 1, -paid[steps > 0])
        case Share():
            money = paid[0] * block.sign * grid.hours
    return money / grid.hours


def packed(grounds: Grounds) -> tuple[dict[str, Json], dict[str, NDArray[np.generic]]]:
    """Grounds as names and columns of 32 bits, as the ledger keeps them."""
    f, parts = grounds.flexibility, grounds.parts
    head: dict[str, Json] = {"groups": list(f.groups), "parts": [part.name for part in parts]}
    head["band_penalty"] = grounds.band_penalty
    columns: dict[str, NDArray[np.generic]] = {"why_edges_s": f.grid.edges_s}
    for name in _OF_GROUPS:
        columns[f"why_{name}"] = np.asarray(getattr(f, name), dtype=np.float32).ravel()
    columns["why_p_kw"] = np.asarray(grounds.p_kw, dtype=np.float32).ravel()
    columns["why_end_value"] = np.asarray(grounds.end_value, dtype=np.float32)
    columns["why_price"] = np.concatenate([np.zeros(0), *(p.price for p in parts)]).astype(np.float32)
    columns["why_count"] = np.array([len(p.rows) for p in parts], dtype=np.int32)
    columns["why_rows"] = np.concatenate([np.zeros(0), *(p.rows for p in parts)]).astype(np.int32)
    columns["why_share"] = np.concatenate([np.zeros(0), *(p.share for p in parts)]).astype(np.float32)
    if grounds.kept:
        head["kept"] = [kept.name for kept in grounds.kept]
        for name in ("rows", "edges"):
            parted = [getattr(kept, name) for kept in grounds.kept]
            columns[f"why_kept_{name}"] = np.concatenate(parted).astype(np.int32)
            columns[f"why_kept_{name}_count"] = np.array([len(part) for part in parted], dtype=np.int32)
    return head, columns


def unpacked(head: dict[str, Json], columns: dict[str, NDArray[np.generic]]) -> Grounds:
    """The grounds that ``packed`` made these of, to 32 bits.

    Args:
        head: with ``groups`` and ``parts``, names, and ``band_penalty``.
        columns: the columns.
    """
    groups, names, penalty = head["groups"], head["parts"], head["band_penalty"]
    assert isinstance(groups, list)
    assert isinstance(names, list)
    assert isinstance(penalty, int | float)
    grid = TimeGrid(np.asarray(columns["why_edges_s"], dtype=np.int64))
    wide = {name: np.asarray(columns[f"why_{name}"], dtype=np.float64) for name in _OF_GROUPS}
    g = len(groups)
    arrays = {name: v if v.size == g and name in _PER_GROUP else v.reshape(g, -1) for name, v in wide.items()}
    count = np.asarray(columns["why_count"], dtype=np.int64)
    breaks = np.cumsum(count)[:-1]
    rows = np.split(np.asarray(columns["why_rows"], dtype=np.int64), breaks)
    share = np.split(np.asarray(columns["why_share"], dtype=np.float64), breaks)
    price = np.asarray(columns["why_price"], dtype=np.float64).reshape(len(names), grid.n)
    parts = tuple(
        Part(str(name), of, by, money) for name, of, by, money in zip(names, rows, share, price, strict=False)
    )
    return Grounds(
        Flexibility(grid, tuple(str(group) for group in groups), **arrays),
        np.asarray(columns["why_p_kw"], dtype=np.float64).reshape(g, grid.n),
        np.asarray(columns["why_end_value"], dtype=np.float64),
        parts,
        float(penalty),
        _kept(head, columns),
    )


def _kept(head: dict[str, Json], columns: dict[str, NDArray[np.generic]]) -> tuple[Kept, ...]:
    names = head.get("kept", [])
    if not isinstance(names, list) or not names:
        return ()
    parts = []
    for name in ("rows", "edges"):
        breaks = np.cumsum(np.asarray(columns[f"why_kept_{name}_count"], dtype=np.int64))[:-1]
        parts.append(np.split(np.asarray(columns[f"why_kept_{name}"], dtype=np.int64), breaks))
    return tuple(Kept(str(name), rows, edges) for name, rows, edges in zip(names, *parts, strict=True))


_PER_GROUP = ("gain_up", "gain_down", "cost_up", "cost_down")
_OF_GROUPS = ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh", *_PER_GROUP)
