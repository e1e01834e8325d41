"""A plan down to single devices: the same terms, priced instead of put into one program.

Sums over members are an outer form, and a plan of sums may be one that no members can follow. Here every
device answers prices for itself (``plan.coordination``), so that what is planned can be done by each, with a
bound that says how far from the best it is at most. Few devices go into one program as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from gridflock.model import Flexibility, Reason, Schedule
from gridflock.plan._by_device import Members, terms_of_devices
from gridflock.plan._check import Sound, misshapen, sound, told
from gridflock.plan._coupling import LESS_FOR_EXPORT, Cells, parts_of, problem_of, without_shares
from gridflock.plan._grounds import CALM, PEAK, Grounds
from gridflock.plan._plan import grounded
from gridflock.plan._reason import HEAD
from gridflock.plan._rest import at_rest
from gridflock.plan._terms import Terms
from gridflock.plan._value import Value, charged, content, end_values, valued
from gridflock.plan.coordination import Carried, Coordinated, Problem, Status, coordinate
from gridflock.plan.devices import Bands
from gridflock.plan.direct import band_penalty
from gridflock.units import Kw, Money, TimeGrid

_MISSING_KWH, _NAMED = 0.01, 50
"""Less missing than this part is rounding; so many devices are named."""
FEW = 200
"""So many devices are planned as one program."""
_EVERYWHERE = frozenset((*HEAD, PEAK, CALM, LESS_FOR_EXPORT))
"""Rows that price the head itself."""
_PRICED_ALWAYS = frozenset((CALM, LESS_FOR_EXPORT))
"""Rows that are prices and no limits: what goes beyond them breaks nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What limits cost over one horizon, to start the next one from.

    Attributes:
        grid: T steps.
        row: S names of limits.
        per_kwh: (S, T) money per kWh.
    """

    grid: TimeGrid
    row: tuple[str, ...]
    per_kwh: Money

    def on(self, problem: Problem, grid: TimeGrid) -> Carried | None:
        """The duals of limits known by name on another horizon, 0 for others; None where none is known."""
        step = np.clip(
            np.searchsorted(self.grid.edges_s, grid.starts_s, side="right") - 1, 0, self.grid.n - 1
        )
        known = {key: s for s, key in enumerate(_keys(self.row))}
        found = [(s, known[key]) for s, key in enumerate(_keys(problem.rows.names)) if key in known]
        if not found:
            return None
        dual = np.zeros((len(problem.rows.names), grid.n))
        for s, row in found:
            dual[s] = self.per_kwh[row, step] * grid.hours
        return Carried(problem.rows.projected(dual))


def _keys(names: Iterable[str]) -> list[tuple[str, int]]:
    """Names of rows with the number of each among those of its name: a limit may have two sides."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A plan of devices.

    Attributes:
        schedule: of the groups.
        p_kw: (m, T) of the devices; what each of them can do.
        grounds: the prices behind it, by device; None where all rest at base.
        gap: no plan is better by more than this, money and penalties together; inf without proof.
        value: what the plan comes to.
        terms: what was weighed, said of the devices; None where all rest at base.
        prices: where the next horizon starts; None where nothing was coordinated.
    """

    schedule: Schedule
    p_kw: Kw
    grounds: Grounds | None
    gap: float
    value: Value
    terms: Terms | None
    prices: Prices | None


def planned(
    members: Members,
    fixed: Kw,
    terms: Terms,
    now_s: int,
    *,
    target: float = 0.005,
    warm: Prices | None = None,
    go_on: Callable[[], bool] = lambda: True,
    progress: Callable[[Status], None] = lambda _: None,
) -> Planned:
    """The cheapest plan that every device can follow, to a proven gap.

    It always answers: devices with broken numbers rest at base, limits give way at their price and are
    named, and where nothing can be coordinated all rest.

    Args:
        members: who is planned.
        fixed: (T,) kW of everything that takes no orders, injection positive.
        terms: prices and limits, of the groups; goals (``blocks``) and owners' tariffs may name single
            devices, too. A ``Share`` is weighed among few devices only, and named where it is not.
        now_s: moment of planning, unix seconds.
        target: gap to stop at, as a part of the whole cost.
        warm: what an earlier horizon handed on.
        go_on: asked before every further round; False ends the work with what there is.
        progress: told how good the plan is after every round.
    """
    able = members.flexibility
    wrong = misshapen(able, fixed, terms)
    if wrong:
        return _resting(members, fixed, now_s, told(wrong))
    given = sound(able, fixed, terms_of_devices(members, terms))
    kept = replace(members, flexibility=given.flexibility)
    if len(able.groups) <= FEW:
        return _as_one(kept, given, now_s)
    given = without_shares(given)
    cells = Cells.of(kept, given, terms)
    problem = problem_of(kept, cells, given, terms)
    end_value = end_values(given.flexibility, given.terms)
    bands = Bands.of(
        cells.sorted(given.flexibility),
        end_value=end_value[cells.order],
        start=cells.start,
        unserved_price=band_penalty(given.terms),
    )
    before = None if warm is None else warm.on(problem, able.grid)
    watch = _Watch.of(given, target, progress)
    found = coordinate(
        problem,
        [bands],
        target=target * _money_share(given),
        warm=before,
        go_on=lambda: go_on() and not watch.near,
        progress=watch.told,
    )
    if found.plan is None or found.recovered is None:
        return _resting(kept, given.fixed_kw, now_s, (*told(found.rejected), *told(given.rejected)))
    return _planned(kept, given, cells, problem, found, now_s)


def moved_to(of: Planned, members: Members, p_kw: Kw) -> Planned:
    """A plan whose devices were moved afterwards, at what it comes to then.

    Args:
        of: the plan.
        members: who was planned.
        p_kw: (m, T) what they are to do now.
    """
    if of.terms is None or of.grounds is None:
        return of
    f, schedule = of.grounds.flexibility, of.schedule
    value = valued(f, p_kw, schedule.fixed_kw, of.terms)
    sums = members.sums(p_kw)
    net_kw = schedule.fixed_kw + sums.sum(axis=0)
    return replace(
        of,
        schedule=replace(
            schedule,
            p_kw=sums,
            net_kw=net_kw,
            peak_kw=max(of.terms.peak_so_far_kw, float(np.max(-net_kw, initial=0.0))),
            cost=value.whole,
            penalty=value.penalty,
        ),
        p_kw=p_kw,
        grounds=replace(of.grounds, p_kw=p_kw),
        gap=max(of.gap + value.whole - of.value.whole, 0.0),
        value=value,
    )


@dataclass(slots=True, eq=False)
class _Watch:
    """Whether the gap is small beside the money the day costs: not what devices make of it, nor penalties."""

    unavoidable: float
    penalty: float
    known: bool
    target: float
    progress: Callable[[Status], None]
    near: bool = False

    @classmethod
    def of(cls, given: Sound, target: float, progress: Callable[[Status], None]) -> Self:
        """Where goals give way at prices of their own, what the expected load costs stands for the money."""
        terms = given.terms
        return cls(_unavoidable(given), terms.limit_penalty, not terms.blocks, target, progress)

    def told(self, status: Status) -> None:
        money = self.unavoidable
        if self.known:
            money = status.cost + self.unavoidable - self.penalty * status.slack_kwh
        self.near = status.gap <= self.target * abs(money)
        self.progress(status)


def _unavoidable(given: Sound) -> float:
    """What the expected load costs at the import tariff, money."""
    return -float(given.terms.import_price @ (given.flexibility.grid.hours * given.fixed_kw))


def _money_share(given: Sound) -> float:
    """About how much of the cost is money, and no penalty of what cannot hold, in (0, 1]."""
    terms, f = given.terms, given.flexibility
    net = given.fixed_kw + f.base_kw.sum(axis=0)
    beyond = np.maximum(-net - terms.import_limit_kw, 0.0) + np.maximum(net - terms.export_limit_kw, 0.0)
    money = abs(_unavoidable(given)) + 1e-9
    penalty = terms.limit_penalty * float(beyond @ f.grid.hours) + charged(f, f.base_kw, terms.blocks).penalty
    return money / (money + penalty)


def _as_one(members: Members, given: Sound, now_s: int) -> Planned:
    """Few devices as one program."""
    found = grounded(given.flexibility, given.fixed_kw, given.terms, now_s)
    of, f = found.schedule, given.flexibility
    if found.grounds is None:
        return _resting(members, given.fixed_kw, now_s, (*told(given.rejected), *of.reasons))
    value = valued(f, of.p_kw, given.fixed_kw, given.terms)
    schedule = replace(
        of,
        groups=members.names,
        p_kw=members.sums(of.p_kw),
        base_kw=members.sums(of.base_kw),
        reasons=(*told(given.rejected), *of.reasons),
        cost=value.whole,
        penalty=value.penalty,
    )
    gap = max(of.cost - found.bound, 0.0)
    return Planned(schedule, of.p_kw, found.grounds, gap, value, given.terms, None)


def _planned(
    members: Members, given: Sound, cells: Cells, problem: Problem, found: Coordinated, now_s: int
) -> Planned:
    assert found.plan is not None
    assert found.recovered is not None
    f, terms = members.flexibility, given.terms
    p_kw = np.empty(f.base_kw.shape)
    p_kw[cells.order] = found.recovered.p_kw[0]
    sums = members.sums(p_kw)
    net_kw = given.fixed_kw + sums.sum(axis=0)
    value = valued(f, p_kw, given.fixed_kw, terms)
    short = missing(f, p_kw, band_penalty(terms))
    parts = parts_of(members, cells, given, problem, found.plan)
    head = terms.import_price + sum(
        (part.price for part in parts if part.name in _EVERYWHERE), np.zeros(f.grid.n)
    )
    schedule = Schedule(
        grid=f.grid,
        groups=members.names,
        p_kw=sums,
        base_kw=members.sums(f.base_kw),
        fixed_kw=given.fixed_kw,
        net_kw=net_kw,
        price=head,
        peak_kw=max(terms.peak_so_far_kw, float(np.max(-net_kw, initial=0.0))),
        reasons=(*told(given.rejected), *short, *(r for r in found.reasons if r.row not in _PRICED_ALWAYS)),
        cost=value.whole,
        made_at_s=now_s,
        penalty=value.penalty,
    )
    prices = Prices(f.grid, problem.rows.names, found.plan.dual / f.grid.hours)
    gap = max(found.recovered.cost - found.plan.status.bound, 0.0)
    grounds = Grounds(f, p_kw, end_values(f, terms), parts)
    return Planned(schedule, p_kw, grounds, gap, value, terms, prices)


def missing(f: Flexibility, p_kw: Kw, price: float) -> tuple[Reason, ...]:
    """Devices whose band does not hold, at the edge where most is missing, the largest first."""
    held = content(f, p_kw)[:, 1:]
    beyond = np.maximum(f.x_lo_kwh[:, 1:] - held, held - f.x_hi_kwh[:, 1:])
    rows = np.flatnonzero((beyond > _MISSING_KWH * np.maximum(1.0, np.abs(held))).any(axis=1))
    step = beyond[rows].argmax(axis=1)
    found = [
        Reason(f"energy band of {f.groups[g]}", int(t), price, float(beyond[g, t] / f.grid.hours[t]))
        for g, t in zip(rows.tolist(), step.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda reason: -reason.slack_kw)[:_NAMED])


def _resting(members: Members, fixed_kw: Kw, now_s: int, why: tuple[Reason, ...]) -> Planned:
    """Every device at its base; NaN where a number cannot be stood behind."""
    f = members.flexibility
    n = max(f.grid.n, 0)
    fixed = fixed_kw if np.shape(fixed_kw) == (n,) else np.zeros(n)
    shape = (len(f.groups), n)
    base = f.base_kw if np.shape(f.base_kw) == shape else np.full(shape, np.nan)
    schedule = at_rest(f.grid, members.names, members.sums(base), fixed, now_s, why)
    return Planned(schedule, base, None, np.inf, Value(np.nan, 0.0), None, None)
