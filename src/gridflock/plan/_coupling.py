"""Terms as the coupling rows of devices that answer prices, and the rows' duals as prices by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from gridflock.model import Flexibility, Rejected
from gridflock.plan._by_device import Members, terms_of_devices
from gridflock.plan._check import Sound, sound
from gridflock.plan._grounds import CALM, IMPORT_TARIFF, OWNER, PEAK, Part
from gridflock.plan._reason import HEAD
from gridflock.plan._terms import Band, Block, Peak, Ramp, Share, Terms, premiums
from gridflock.plan.coordination import Limits, Peaks, Plan, Problem, Ramps
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Money

LESS_FOR_EXPORT = "export earns less than import costs"


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Devices in the coarsest parts of their plan groups that no term tells apart.

    Attributes:
        order: int64 (m,) devices sorted by cell.
        start: int64 (C + 1,) first place of each cell in that order, and m.
        group: int64 (C,) plan group of each.
        share: (B, C) part of each cell's power in the flow of each block.
        premium: (C, T) money per kWh its owners pay above the tariff.
    """

    order: Indices
    start: Indices
    group: Indices
    share: Array
    premium: Array

    @classmethod
    def of(cls, members: Members, given: Sound, asked: Terms) -> Cells:
        """The plan groups as they are, unless goals or owners' tariffs speak of single devices."""
        f, terms = members.flexibility, given.terms
        premium = premiums(f, terms)
        share = np.zeros((len(terms.blocks), len(f.groups)))
        for b, block in enumerate(terms.blocks):
            rows, part = block.flow.rows_of(f)
            share[b, rows] = part
        order, start, group = np.arange(len(f.groups)), members.start, np.arange(len(members.names))
        if terms.blocks or not asked.premium.keys() <= set(members.names):
            tariff = np.unique(premium, axis=0, return_inverse=True)[1].ravel()
            cells, cell = np.unique(
                np.column_stack([members.group, tariff, share.T]), axis=0, return_inverse=True
            )
            order = np.argsort(cell.ravel(), kind="stable")
            start = np.append(np.searchsorted(cell.ravel()[order], np.arange(len(cells))), len(order))
            group = cells[:, 0].astype(np.int64)
        first = order[np.minimum(start[:-1], len(order) - 1)]
        return cls(order, start.astype(np.int64), group, share[:, first], premium[first])

    def of_devices(self) -> Indices:
        """(m,) cell of each device."""
        cell = np.empty(len(self.order), dtype=np.int64)
        cell[self.order] = np.repeat(np.arange(len(self.group)), np.diff(self.start))
        return cell

    def sorted(self, f: Flexibility) -> Flexibility:
        """What the devices can do, in the cells' order."""
        if (self.order[:-1] < self.order[1:]).all():
            return f
        names = tuple(f.groups[k] for k in self.order.tolist())
        tables = {
            name: getattr(f, name)[self.order] for name in f.__slots__ if name not in {"grid", "groups"}
        }
        return replace(f, groups=names, **tables)


def in_cells(members: Members, terms: Terms) -> tuple[Flexibility, Terms]:
    """Devices as sums that no term tells apart, an outer form of them, and the terms said of these.

    Args:
        members: devices in plan groups.
        terms: of the groups; goals and owners' tariffs may name devices.
    """
    f = members.flexibility
    given = sound(f, np.zeros(f.grid.n), terms_of_devices(members, terms))
    cells = Cells.of(replace(members, flexibility=given.flexibility), given, terms)
    names = tuple(f"{members.names[g]} {c}" for c, g in enumerate(cells.group.tolist()))
    parts = Members(
        cells.sorted(given.flexibility), names, np.repeat(np.arange(len(names)), np.diff(cells.start))
    )
    blocks = [
        replace(block, flow=replace(block.flow, share=dict(zip(names, cells.share[b].tolist(), strict=True))))
        for b, block in enumerate(given.terms.blocks)
    ]
    inside = {
        name: [c for c, g in enumerate(cells.group.tolist()) if members.names[g] == name]
        for name in members.names
    }
    return parts.together(), replace(
        terms,
        premium=dict(zip(names, cells.premium, strict=True)),
        end_value={
            names[c]: terms.end_value[g] for g, cs in inside.items() if g in terms.end_value for c in cs
        },
        members={
            limit.group: tuple(
                names[c] for g in terms.members.get(limit.group, (limit.group,)) for c in inside.get(g, ())
            )
            for limit in terms.group_limits
        },
        blocks=tuple(blocks),
    )


@dataclass(slots=True, eq=False)
class _Rows:
    """Rows of one kind as they are collected."""

    steps: int
    names: list[str] = field(default_factory=list)
    groups: list[Indices] = field(default_factory=list)
    coefficient: list[Array] = field(default_factory=list)
    fixed: list[Kw] = field(default_factory=list)
    low: list[Kw] = field(default_factory=list)
    high: list[Kw] = field(default_factory=list)
    price: list[float] = field(default_factory=list)

    def row(
        self, name: str, of: tuple[Indices, Array], fixed: Kw, bounds: tuple[Kw, Kw], price: float
    ) -> None:
        """One more: who, what flows beside them, and two numbers per step that the kind of row knows."""
        self.names.append(name)
        self.groups.append(of[0])
        self.coefficient.append(of[1])
        self.fixed.append(fixed)
        self.low.append(bounds[0])
        self.high.append(bounds[1])
        self.price.append(price)

    def limits(self) -> Limits:
        """Rows with a floor and a ceiling."""
        return Limits(*self._named(), *self._tables(), np.array(self.price), tuple(self.coefficient))

    def ramps(self) -> Ramps | None:
        """Rows on changes, ``high`` the largest, ``low`` the flow before the first step, NaN for free."""
        if not self.names:
            return None
        fixed, before, most = self._tables()
        price = np.array(self.price)
        return Ramps(*self._named(), fixed, before[:, 0], most, price, tuple(self.coefficient))

    def peaks(self) -> Peaks | None:
        """Rows on the largest import, ``low`` the one already paid for, ``high`` 1 where a step counts."""
        if not self.names:
            return None
        fixed, paid, counted = self._tables()
        price = np.array(self.price)
        return Peaks(
            *self._named(), fixed, paid[:, 0], price, counted.astype(np.bool_), tuple(self.coefficient)
        )

    def _named(self) -> tuple[tuple[str, ...], tuple[Indices, ...]]:
        return tuple(self.names), tuple(self.groups)

    def _tables(self) -> tuple[Kw, Kw, Kw]:
        shape = (len(self.names), self.steps)
        return tuple(
            np.array(of, dtype=np.float64).reshape(shape) for of in (self.fixed, self.low, self.high)
        )  # type: ignore[return-value]  # three


def problem_of(members: Members, cells: Cells, given: Sound, asked: Terms) -> Problem:
    """Head limits, the difference between the tariffs, peak, calm, limits of groups and goals as rows.

    Args:
        members: who is planned.
        cells: their parts, which answer together.
        given: sound terms, said of devices.
        asked: the terms as they speak of groups.
    """
    terms, grid = given.terms, members.flexibility.grid
    n, none = grid.n, np.full(grid.n, np.inf)
    everybody = _all(np.arange(len(cells.group)))
    limits, ramps, peaks = _Rows(n), _Rows(n), _Rows(n)

    def head(name: str, bounds: tuple[Kw, Kw], price: float) -> None:
        limits.row(name, everybody, given.fixed_kw, bounds, price)

    head(HEAD[0], (-terms.import_limit_kw, none), terms.limit_penalty)
    head(HEAD[1], (-none, terms.export_limit_kw), terms.limit_penalty)
    less = np.round(terms.import_price - terms.export_price, 9)
    for gap in np.unique(less[less > 0.0]).tolist():
        head(LESS_FOR_EXPORT, (-none, np.where(less == gap, 0.0, np.inf)), gap)
    for limit in _limits_of_groups(members, cells, terms, asked):
        limits.row(*limit, terms.limit_penalty)
    if terms.ramp_penalty > 0.0:
        free = np.full(n, np.nan)
        ramps.row(CALM, everybody, given.fixed_kw, (free, np.zeros(n)), terms.ramp_penalty)
    if terms.peak_price > 0.0:
        paid, counted = np.full(n, terms.peak_so_far_kw), np.ones(n)
        peaks.row(PEAK, everybody, given.fixed_kw, (paid, counted), terms.peak_price)
    for b, block in enumerate(terms.blocks):
        _goal(block, cells.share[b], members.flexibility, limits, ramps, peaks)
    return Problem(
        grid.hours,
        terms.import_price,
        len(cells.group),
        limits.limits(),
        ramps.ramps(),
        peaks.peaks(),
        cells.premium,
    )


def _all(groups: Indices) -> tuple[Indices, Array]:
    return groups, np.ones(len(groups))


def _limits_of_groups(
    members: Members, cells: Cells, terms: Terms, asked: Terms
) -> Iterator[tuple[str, tuple[Indices, Array], Kw, tuple[Kw, Kw]]]:
    """Bounds that cross are two rows: one of them gives way."""
    grid = members.flexibility.grid
    none = np.full(grid.n, np.inf)
    number = {name: g for g, name in enumerate(members.names)}
    for limit in terms.group_limits:
        inside = [number[g] for g in asked.members.get(limit.group, (limit.group,)) if g in number]
        of = _all(np.flatnonzero(np.isin(cells.group, inside)))
        now, name = grid.starts_s < limit.until_s, f"{limit.source} (limit of {limit.group})"
        lo, hi = np.where(now, limit.p_lo_kw, -np.inf), np.where(now, limit.p_hi_kw, np.inf)
        crossed = limit.p_lo_kw > limit.p_hi_kw
        for bounds in ((lo, none), (-none, hi)) if crossed else ((lo, hi),):
            yield name, of, np.zeros(grid.n), bounds


def _goal(block: Block, share: Array, f: Flexibility, limits: _Rows, ramps: _Rows, peaks: _Rows) -> None:
    """The rows of one goal; a ``Share`` has been refused before."""
    flow, none = block.flow, np.full(f.grid.n, np.inf)
    cells = np.flatnonzero(share > 0.0)
    of = cells, flow.moves * share[cells]
    rows, part = flow.rows_of(f)
    # What is not expected to follow stays at base.
    beside = flow.fixed_kw + (1.0 - flow.moves) * (part @ f.base_kw[rows])
    match block:
        case Band():
            limits.row(block.name, of, beside, (block.lo_kw, none), block.under_price)
            limits.row(block.name, of, beside, (-none, block.hi_kw), block.over_price)
        case Ramp():
            before = np.full(f.grid.n, block.before_kw)
            ramps.row(block.name, of, beside, (before, block.limits_kw), block.price)
        case Peak():
            paid = np.full(f.grid.n, block.so_far_kw)
            peaks.row(block.name, of, beside, (paid, block.steps.astype(np.float64)), block.price)


def without_shares(given: Sound) -> Sound:
    """Without worths of shares, each named: a row over the whole horizon is nothing a price per step says."""
    kept = tuple(block for block in given.terms.blocks if not isinstance(block, Share))
    rule = "the worth of a share is weighed among few devices only, in one program; left out"
    found = tuple(
        Rejected("goal", "share", (block.name,), rule)
        for block in given.terms.blocks
        if isinstance(block, Share)
    )
    return replace(given, terms=replace(given.terms, blocks=kept), rejected=(*given.rejected, *found))


def parts_by_row(name: str, price: Money) -> list[Part]:
    """Prices (m, T) of one name, a part for each that several rows have."""
    kinds, kind = np.unique(price, axis=0, return_inverse=True)
    rows = [np.flatnonzero(kind.ravel() == k) for k in range(len(kinds))]
    return [Part(name, mine, np.ones(len(mine)), one) for mine, one in zip(rows, kinds, strict=True)]


def parts_of(members: Members, cells: Cells, given: Sound, problem: Problem, plan: Plan) -> tuple[Part, ...]:
    """The local prices of devices as tariff, owners' tariffs and every row's pull."""
    f, rows = members.flexibility, problem.rows
    every = np.arange(len(f.groups))
    parts = [Part(IMPORT_TARIFF, every, np.ones(len(every)), given.terms.import_price)]
    parts += parts_by_row(OWNER, premiums(f, given.terms))
    pulled: dict[str, Kw] = {}
    for s, name in enumerate(rows.names):
        alone = np.zeros_like(plan.dual)
        alone[s] = plan.dual[s]
        pulled[name] = pulled.get(name, 0.0) + rows.pull(alone) / f.grid.hours
    cell = cells.of_devices()
    for name, pull in pulled.items():
        most = np.abs(pull).max(axis=1)
        if most.max(initial=0.0) > 0.0:
            largest = int(most.argmax())
            step = int(np.abs(pull[largest]).argmax())
            mine = np.flatnonzero((most > 0.0)[cell])
            share = (pull[:, step] / pull[largest, step])[cell[mine]]
            parts.append(Part(name, mine, share, pull[largest]))
    return tuple(part for part in parts if np.abs(part.price).max(initial=0.0) > 1e-9)
