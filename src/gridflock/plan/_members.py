"""A plan down to single devices: the same terms, priced instead of put into one program.

Sums over members are an outer form, and a plan of sums may be one that no members can follow. Here every
device answers prices for itself (``plan.coordination``), so that what is planned can be done by each, with a
bound that says how far from the best it is at most. Few devices go into one program as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility, Reason, Schedule
from gridflock.plan._check import Sound, misshapen, sound, told
from gridflock.plan._grounds import (
    CALM,
    IMPORT_TARIFF,
    OWNER,
    PEAK,
    Grounds,
    Part,
)
from gridflock.plan._plan import grounded
from gridflock.plan._reason import HEAD
from gridflock.plan._terms import Terms, premiums
from gridflock.plan._value import Value, content, end_values, valued
from gridflock.plan.coordination import (
    Carried,
    Coordinated,
    Limits,
    Peaks,
    Plan,
    Problem,
    Ramps,
    Status,
    coordinate,
)
from gridflock.plan.devices import Bands
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.plan.direct import band_penalty
from gridflock.units import Kw, Money, TimeGrid

_MISSING_KWH, _NAMED = 0.01, 50
"""Less missing than this part is rounding; so many devices are named."""
FEW = 200
"""So many devices are planned as one program."""
_SUMMED = ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh")
_LESS_FOR_EXPORT = "export earns less than import costs"
_EVERYWHERE = frozenset((*HEAD, PEAK, CALM, _LESS_FOR_EXPORT))
"""Rows that price the head itself."""
_PRICED_ALWAYS = frozenset((CALM, _LESS_FOR_EXPORT))
"""Rows that are prices and no limits: what goes beyond them breaks nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Devices and the plan groups they belong to.

    Attributes:
        flexibility: m devices, sorted by group; its ``groups`` are their names.
        names: G plan groups, which terms speak of.
        group: int64 (m,) group of each, ascending.
    """

    flexibility: Flexibility
    names: tuple[str, ...]
    group: Indices

    @property
    def start(self) -> Indices:
        """(G + 1,) first device of each group, and m."""
        start: Indices = np.searchsorted(self.group, np.arange(len(self.names) + 1)).astype(np.int64)
        return start

    def together(self) -> Flexibility:
        """The groups' sums, an outer form of what their devices can do."""
        f = self.flexibility
        arrays: dict[str, Array] = {name: self.sums(getattr(f, name)) for name in _SUMMED}
        for side in ("up", "down"):
            weight = getattr(f, f"{side}_kw").max(axis=1)
            whole = np.bincount(self.group, weight, len(self.names))
            summed = np.bincount(self.group, weight * getattr(f, f"cost_{side}"), len(self.names))
            arrays[f"cost_{side}"] = np.divide(summed, whole, out=np.zeros_like(summed), where=whole > 0.0)
            # The best gain of any: it fills with least and empties by least.
            best = np.full(len(self.names), -np.inf)
            np.maximum.at(best, self.group[weight > 0.0], getattr(f, f"gain_{side}")[weight > 0.0])
            arrays[f"gain_{side}"] = np.where(np.isfinite(best), best, 0.0)
        return Flexibility(f.grid, self.names, **arrays)  # type: ignore[arg-type]  # all float64

    def sums(self, p_kw: Kw) -> Kw:
        """(G, T) of (m, T)."""
        sums = np.zeros((len(self.names), p_kw.shape[1]))
        np.add.at(sums, self.group, p_kw)
        return sums


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
        """The same limits' duals on another horizon; None where they are others."""
        if problem.rows.names != self.row:
            return None
        step = np.clip(
            np.searchsorted(self.grid.edges_s, grid.starts_s, side="right") - 1, 0, self.grid.n - 1
        )
        return Carried(problem.rows.projected(self.per_kwh[:, step] * grid.hours))


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
        terms: prices and limits, of the groups; further goals (``blocks``) belong to ``grounded``.
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
    given = sound(able, fixed, _of_devices(members, terms))
    kept = replace(members, flexibility=given.flexibility)
    if len(able.groups) <= FEW:
        return _as_one(kept, given, now_s)
    problem = _problem(kept, given, terms)
    end_value = end_values(given.flexibility, given.terms)
    bands = Bands.of(
        given.flexibility,
        end_value=end_value,
        start=kept.start,
        unserved_price=band_penalty(given.terms),
    )
    before = None if warm is None else warm.on(problem, able.grid)
    watch = _Watch(_unavoidable(given), given.terms.limit_penalty, target, progress)
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
    return _planned(kept, given, problem, found, end_value, now_s)


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
    target: float
    progress: Callable[[Status], None]
    near: bool = False

    def told(self, status: Status) -> None:
        money = status.cost + self.unavoidable - self.penalty * status.slack_kwh
        self.near = status.gap <= self.target * abs(money)
        self.progress(status)


def _unavoidable(given: Sound) -> float:
    """What the expected load costs at the import tariff, money."""
    return -float(given.terms.import_price @ (given.flexibility.grid.hours * given.fixed_kw))


def _money_share(given: Sound) -> float:
    """About how much of the cost is money, and no penalty of head limits that cannot hold, in (0, 1]."""
    terms, f = given.terms, given.flexibility
    net = given.fixed_kw + f.base_kw.sum(axis=0)
    beyond = np.maximum(-net - terms.import_limit_kw, 0.0) + np.maximum(net - terms.export_limit_kw, 0.0)
    money = abs(_unavoidable(given)) + 1e-9
    return money / (money + terms.limit_penalty * float(beyond @ f.grid.hours))


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


def _of_devices(members: Members, terms: Terms) -> Terms:
    """Terms with what they say of groups said of each of its devices."""
    names, devices = members.names, members.flexibility.groups
    of = [names[g] for g in members.group.tolist()]
    inside: dict[str, list[str]] = {}
    for device, group in zip(devices, of, strict=True):
        inside.setdefault(group, []).append(device)
    wanted = {limit.group for limit in terms.group_limits}
    return replace(
        terms,
        premium={d: terms.premium[g] for d, g in zip(devices, of, strict=True) if g in terms.premium},
        end_value={d: terms.end_value[g] for d, g in zip(devices, of, strict=True) if g in terms.end_value},
        members={
            name: tuple(d for g in terms.members.get(name, (name,)) for d in inside.get(g, [g]))
            for name in wanted
        },
    )


def _problem(members: Members, given: Sound, asked: Terms) -> Problem:
    """Head limits, the difference between the tariffs, peak, calm and limits of groups as coupling rows."""
    terms, grid = given.terms, members.flexibility.grid
    n, everybody = grid.n, np.arange(len(members.names))
    names, groups, fixed, floor, ceiling, price = [], [], [], [], [], []

    def row(name: str, of: Indices, beside: Kw, lo: Kw, hi: Kw, penalty: float) -> None:
        names.append(name)
        groups.append(of)
        fixed.append(beside)
        floor.append(lo)
        ceiling.append(hi)
        price.append(penalty)

    none = np.full(n, np.inf)
    row(HEAD[0], everybody, given.fixed_kw, -terms.import_limit_kw, none, terms.limit_penalty)
    row(HEAD[1], everybody, given.fixed_kw, -none, terms.export_limit_kw, terms.limit_penalty)
    less = np.round(terms.import_price - terms.export_price, 9)
    for gap in np.unique(less[less > 0.0]).tolist():
        row(_LESS_FOR_EXPORT, everybody, given.fixed_kw, -none, np.where(less == gap, 0.0, np.inf), gap)
    number = {name: g for g, name in enumerate(members.names)}
    for limit in terms.group_limits:
        inside = [number[g] for g in asked.members.get(limit.group, (limit.group,)) if g in number]
        now = grid.starts_s < limit.until_s
        name, rows = f"{limit.source} (limit of {limit.group})", np.array(sorted(inside), dtype=np.int64)
        lo, hi = np.where(now, limit.p_lo_kw, -np.inf), np.where(now, limit.p_hi_kw, np.inf)
        crossed = limit.p_lo_kw > limit.p_hi_kw
        for low, high in ((lo, none), (-none, hi)) if crossed else ((lo, hi),):
            row(name, rows, np.zeros(n), low, high, terms.limit_penalty)
    limits = Limits(
        tuple(names), tuple(groups), np.array(fixed), np.array(floor), np.array(ceiling), np.array(price)
    )
    one = (given.fixed_kw[None, :],)
    ramps = Ramps(
        (CALM,), (everybody,), *one, np.array([np.nan]), np.zeros((1, n)), np.array([terms.ramp_penalty])
    )
    peaks = Peaks((PEAK,), (everybody,), *one, np.array([terms.peak_so_far_kw]), np.array([terms.peak_price]))
    by_group = np.zeros((len(members.names), n))
    for g, name in enumerate(members.names):
        mine = np.asarray(asked.premium.get(name, np.zeros(n)))
        by_group[g] = mine if mine.shape == (n,) and np.isfinite(mine).all() else 0.0
    return Problem(
        grid.hours,
        terms.import_price,
        len(members.names),
        limits,
        ramps if terms.ramp_penalty > 0.0 else None,
        peaks if terms.peak_price > 0.0 else None,
        by_group,
    )


def _planned(
    members: Members, given: Sound, problem: Problem, found: Coordinated, end_value: Kw, now_s: int
) -> Planned:
    assert found.plan is not None
    assert found.recovered is not None
    f, terms = members.flexibility, given.terms
    p_kw = found.recovered.p_kw[0].astype(np.float64)
    sums = members.sums(p_kw)
    net_kw = given.fixed_kw + sums.sum(axis=0)
    value = valued(f, p_kw, given.fixed_kw, terms)
    short = missing(f, p_kw, band_penalty(terms))
    parts = _parts(members, given, problem, found.plan)
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
    grounds = Grounds(f, p_kw, end_value, parts)
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


def _parts(members: Members, given: Sound, problem: Problem, plan: Plan) -> tuple[Part, ...]:
    """The local prices of devices as tariff, owners' tariffs and every row's pull."""
    f, rows = members.flexibility, problem.rows
    every = np.arange(len(f.groups))
    parts = [Part(IMPORT_TARIFF, every, np.ones(len(every)), given.terms.import_price)]
    premium = premiums(f, given.terms)
    kinds, kind = np.unique(premium, axis=0, return_inverse=True)
    for k, price in enumerate(kinds):
        mine = np.flatnonzero(kind.ravel() == k)
        parts.append(Part(OWNER, mine, np.ones(len(mine)), price))
    pulled: dict[str, Kw] = {}
    for s, name in enumerate(rows.names):
        alone = np.zeros_like(plan.dual)
        alone[s] = plan.dual[s]
        pulled[name] = pulled.get(name, 0.0) + rows.pull(alone) / f.grid.hours
    for name, pull in pulled.items():
        groups = np.flatnonzero(np.abs(pull).max(axis=1) > 0.0)
        if len(groups):
            mine = np.flatnonzero(np.isin(members.group, groups))
            parts.append(Part(name, mine, np.ones(len(mine)), pull[groups[0]]))
    return tuple(part for part in parts if np.abs(part.price).max(initial=0.0) > 1e-9)


def _resting(members: Members, fixed_kw: Kw, now_s: int, why: tuple[Reason, ...]) -> Planned:
    """Every device at its base; NaN where a number cannot be stood behind."""
    f = members.flexibility
    n = max(f.grid.n, 0)
    fixed = fixed_kw if np.shape(fixed_kw) == (n,) else np.zeros(n)
    shape = (len(f.groups), n)
    base = f.base_kw if np.shape(f.base_kw) == shape else np.full(shape, np.nan)
    sums = members.sums(base)
    net_kw = fixed + sums.sum(axis=0)
    schedule = Schedule(
        grid=f.grid,
        groups=members.names,
        p_kw=sums,
        base_kw=sums,
        fixed_kw=fixed,
        net_kw=net_kw,
        price=np.full(n, np.nan),
        peak_kw=float(np.max(-net_kw, initial=0.0)),
        reasons=why,
        cost=float("nan"),
        made_at_s=now_s,
    )
    return Planned(schedule, base, None, np.inf, Value(np.nan, 0.0), None, None)
