"""The slow tick: what will be, what could be done, and the plan that follows.

Everything that a plan was made from is kept beside it, so that "why?" can be asked of any number of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard._diverted import Behind
from gridflock.fleet import Image, flexibility
from gridflock.fleet.flexible import arriving
from gridflock.grid import ControlState, Flow
from gridflock.market import prices, tariffs
from gridflock.model import Directive, Entry, Envelope, Flexibility, Forecast, Json, Schedule, Shares
from gridflock.plan import Grounds, Members, Prices, Terms, moved_to, packed, planned
from gridflock.plan import Planned as FoundPlan
from gridflock.plan._check import told
from gridflock.plan.coordination import Status
from gridflock.plan.goals.stated import Stated
from gridflock.plan.network import Held, Round
from gridflock.plan.scenario import BackedOff, backed_off, futures
from gridflock.runtime._allowed import head_limits, price_shift
from gridflock.runtime._behind import behind_directive, own_and_asked
from gridflock.runtime._expected import drawn, expected
from gridflock.runtime._goals import Aim
from gridflock.runtime._market import WORDS, Market, Priced, priced_over
from gridflock.runtime._on_feeder import on_feeder
from gridflock.runtime._past import Past
from gridflock.runtime._reserved import Granted, firm, less_expected
from gridflock.runtime._settings import Settings
from gridflock.runtime._subjects import OUTSIDE
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.units import Kw, Money, Rows, TimeGrid


def _told(
    found: FoundPlan,
    held: Held | None,
    seen: Forecast,
    members: Members,
    rows: Rows,
    terms: Terms,
    aim: Aim | None,
) -> Planned:
    """A plan as the system keeps it: groups, the shares of their resources, the verdict."""
    kept = found if held is None else moved_to(found, members, held.p_kw)
    schedule, known = kept.schedule, rows >= 0
    grounds = kept.grounds
    if aim is not None:
        if grounds is not None:
            grounds = aim.sought.named(grounds)
        schedule, aim = _with_goals(schedule, aim, kept.p_kw), aim.judged(kept.p_kw)
    q_kvar = np.full_like(kept.p_kw, np.nan) if held is None else held.q_kvar
    order = np.argsort(rows[known])
    shares = Shares(
        rows[known][order],
        kept.p_kw[known][order].astype(np.float32),
        q_kvar[known][order].astype(np.float32),
    )
    return Planned(
        replace(schedule, shares=shares),
        seen,
        members,
        schedule.fixed_kw,
        terms,
        grounds,
        kept.gap,
        held,
        kept.p_kw - found.p_kw,
        aim=aim,
    )


def _with_goals(schedule: Schedule, aim: Aim, p_kw: Kw) -> Schedule:
    """Its cost told apart into money and what goals weigh beyond it; goals that are left out named."""
    return replace(
        schedule,
        penalty=schedule.cost - aim.sought.money(p_kw),
        reasons=(*told(aim.sought.rejected), *schedule.reasons),
    )


_FUTURES = 2_000
_NO_MARKET = Market()
_TEXT = 500
MOVED_KW = 0.01
"""Less is not worth telling."""
_TABLES = ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh")
_COLUMNS = ("gain_up", "gain_down", "cost_up", "cost_down")


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A plan with what it was made from.

    Attributes:
        schedule: the plan of the plan groups, with the shares of their resources.
        forecast: quantiles of the plan groups and of all else.
        members: what resources can do, and who is expected to come.
        fixed_kw: (T,) expected injection of everything that takes no orders.
        terms: what was weighed.
        grounds: the prices behind it; None where all rest at base.
        gap: no plan is better by more than this, money and penalties together.
        held: the plan in AC; None where it was not looked at or has no solution.
        moved_kw: (m, T) by how much members were moved for the feeder's own limits.
        caution: by how much limits were lowered for what is uncertain; None where not asked for.
        aim: the goals it was made for; None where none were due.
        prices: where the next plan starts from.
        failed: why there is no plan for what somebody asked; empty where there is.
        behind: who asked for what makes it another than the plan beneath it; None for the plan without.
        beneath: the plan that would be in force without that.
        priced: published and expected prices; None where the tariff holds throughout.
        granted: to whom energy was granted within the horizon, and so planned whatever it costs.
        settings: whose device is set to less than the registry says.
    """

    schedule: Schedule
    forecast: Forecast
    members: Members
    fixed_kw: Kw
    terms: Terms
    grounds: Grounds | None
    gap: float
    held: Held | None
    moved_kw: Kw
    caution: BackedOff | None = None
    aim: Aim | None = None
    prices: Prices | None = None
    failed: str = ""
    behind: Behind | None = None
    beneath: Planned | None = None
    priced: Priced | None = None
    granted: tuple[Granted, ...] = ()
    settings: SetTo | None = None

    @property
    def chain(self) -> tuple[Planned, ...]:
        """The plan that nobody outside asked anything of, and those with what somebody did, in turn."""
        return (self,) if self.beneath is None else (*self.beneath.chain, self)


@dataclass(frozen=True, slots=True, eq=False)
class SetTo:
    """Resources that a plan bounds by their devices' settings.

    Attributes:
        rows: int32 (k,) fleet rows, ascending.
        lo_kw: (k,) lowest injection.
        hi_kw: (k,) highest.
    """

    rows: Rows
    lo_kw: Kw
    hi_kw: Kw

    @classmethod
    def of(cls, system: System, image: Image, rows: Rows) -> SetTo | None:
        """Those of some rows, -1 for nobody, that the image bounds closer than the registry; None: nobody."""
        known = np.sort(rows[rows >= 0]).astype(np.int32)
        own, now = system.fleet.columns, image.columns
        low, high = now["p_min_kw"][known], now["p_max_kw"][known]
        less = (low > own["p_min_kw"][known]) | (high < own["p_max_kw"][known])
        return cls(known[less], low[less], high[less]) if less.any() else None


@dataclass(frozen=True, slots=True, eq=False)
class _Basis:
    """What all plans of one moment are made from, whatever is asked of them."""

    system: System
    image: Image
    seen_now: tuple[Flow, ControlState]
    seen: Forecast
    members: Members
    rows: Rows
    terms: Terms
    fixed_kw: Kw
    priced: Priced | None
    granted: tuple[Granted, ...]


class Planning:
    """Plans, one after the other.

    Args:
        settings: tempos and limits.
        past: what forecasts learn from.
        timezone: whose local time tariffs go by.
    """

    def __init__(self, settings: Settings, past: Past, timezone: str) -> None:
        self._settings, self._past = settings, past
        self.watch: Callable[[Status | Round], None] = lambda _: None
        """Told of every round of prices and of every round of the repair in AC."""
        self._tariffs = tariffs(timezone)
        self.prices: Prices | None = None
        """Where the next plan starts from."""

    def plan(
        self,
        system: System,
        image: Image,
        seen_now: tuple[Flow, ControlState],
        head: Envelope,
        peak_kw: float,
        directive: Directive | None = None,
        market: Market = _NO_MARKET,
        granted: tuple[Granted, ...] = (),
    ) -> Planned:
        """Forecast, flexibility, plan, and what AC says of it.

        Args:
            system: network, fleet and groups as they are now.
            image: the process image.
            seen_now: the feeder as estimated, and its regulators and capacitors.
            head: what the feeder as a whole may draw and deliver by its own limits.
            peak_kw: import peak of the feeder's local day so far.
            directive: the newest of a system above.
            market: what is known of prices.
            granted: energy that devices were granted.
        """
        settings, now_s, past = self._settings, image.now_s, self._past
        grid = horizon(now_s, settings)
        seen = expected(past, grid, system.site, now_s)
        granted = tuple(one for one in granted if one.share(grid).any())
        members, rows = self._members(system, image, seen, grid, granted)
        buy, sell = prices(self._tariffs[settings.tariff], grid)
        told = priced_over(market, grid, system.site, settings.learn_days, now_s)
        if told is not None:
            buy, sell = (np.where(np.isfinite(told.price), told.price, one) for one in (buy, sell))
        most_in, most_out = head_limits(head, directive, settings, grid)
        terms = Terms(
            import_price=buy,
            export_price=sell,
            peak_price=settings.peak_price,
            ramp_penalty=settings.ramp_penalty,
            peak_so_far_kw=peak_kw,
            import_limit_kw=most_in,
            export_limit_kw=most_out,
            premium={group: self._own_price(group, grid) - buy for group in members.names},
        )
        basis = _Basis(
            system, image, seen_now, seen, members, rows, terms, seen.median(OUTSIDE), told, granted
        )
        shift, priced = price_shift(directive, grid), behind_directive(directive, settings, system)
        ours = shift if priced is None else np.zeros(grid.n)
        own, asked = own_and_asked(settings)
        made = self._made(basis, own, ours, self.prices)
        self.prices = warm = made.prices
        others = [] if priced is None or not shift.any() else [(priced, own, shift)]
        others += [] if asked is None else [(*asked, ours)]
        for behind, goals, price in others:
            try:
                found = self._made(basis, goals, price, warm)
            except Exception as error:  # noqa: BLE001 - what somebody asks must not keep the others from a plan
                text = f"no plan for what {behind.author} asks: {type(error).__name__}: {error}"
                made = replace(made, failed=text[:_TEXT])
            else:
                made = replace(found, behind=behind, beneath=made, failed=made.failed)
        return made

    def _made(self, basis: _Basis, goals: Stated, shift: Money, warm: Prices | None) -> Planned:
        """A plan for some goals, with a kWh at the head worth so much more than the tariff says."""
        settings, system, image = self._settings, basis.system, basis.image
        members, rows, fixed_kw, now_s = basis.members, basis.rows, basis.fixed_kw, basis.image.now_s
        plain = basis.terms
        terms = replace(
            plain, import_price=plain.import_price + shift, export_price=plain.export_price + shift
        )
        caution = self._caution(members, fixed_kw, terms, basis.seen, now_s)
        weighed = terms if caution is None else caution.terms
        aim = Aim.of(goals, system, image, members, rows, fixed_kw, weighed)
        if aim is not None:
            members, weighed = aim.sought.members, aim.sought.terms
        found = planned(
            members, fixed_kw, weighed, now_s, target=settings.plan_gap, warm=warm, progress=self.watch
        )
        held = self._held(system, image, basis.seen_now, members, rows, found)
        made = _told(found, held, basis.seen, members, rows, terms, aim)
        set_to = SetTo.of(system, image, rows)
        made = replace(made, caution=caution, prices=found.prices, priced=basis.priced)
        made = replace(made, granted=basis.granted, settings=set_to)
        if made.aim is None or not settings.goal_costs:
            return made
        return replace(made, aim=made.aim.costs(settings.plan_gap, found.prices))

    def _caution(
        self, members: Members, fixed_kw: Kw, terms: Terms, seen: Forecast, now_s: int
    ) -> BackedOff | None:
        """Limits lowered by what the forecast may be wrong by, tuned on futures of the groups' sums."""
        settings = self._settings
        if settings.violation_rate <= 0.0:
            return None
        able = members.together()
        joint = futures(seen, OUTSIDE, able, drawn(self._past, seen, _FUTURES, now_s))
        return backed_off(
            able, fixed_kw, terms, joint, settings.violation_rate, now_s, steps=settings.fine_steps
        )

    def _held(
        self,
        system: System,
        image: Image,
        seen_now: tuple[Flow, ControlState],
        members: Members,
        rows: Rows,
        found: FoundPlan,
    ) -> Held | None:
        """The plan held to the feeder's limits; None where no flow could be found for it."""
        if not self._settings.in_ac or found.grounds is None:
            return None
        of = found.schedule
        # Energy that is displaced must not go where a goal counts it: then prices by device say where to.
        price = of.price if found.terms is None or not found.terms.blocks else found.grounds.prices()
        try:
            return on_feeder(
                system, image, *seen_now, members, rows, of.fixed_kw, found.p_kw, price, self.watch
            )
        except ValueError:
            return None

    def _members(
        self, system: System, image: Image, seen: Forecast, grid: TimeGrid, granted: tuple[Granted, ...]
    ) -> tuple[Members, Rows]:
        """What each resource can do, and those expected to come; their fleet rows, -1 for the latter."""
        groups, columns = self._past.plan_groups, system.fleet.columns
        vehicle = np.array([f"/{Family.VEHICLE.name.lower()}/" in group for group in groups])
        rows = np.concatenate([system.rows_of[group] for group in groups])
        group = np.repeat(np.arange(len(groups)), [len(system.rows_of[name]) for name in groups])
        base = np.stack([seen.median(name) for name in groups]) * ~vehicle[:, None]
        # Who is large has the larger part of what the group is expected to do.
        size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)[rows]
        share = size / np.maximum(np.bincount(group, size, len(groups)), 1e-9)[group]
        ids = [system.fleet.ids[row] for row in rows]
        able = flexibility(
            image, ids, list(rows[:, None]), grid, base[group] * share[:, None], np.zeros((len(rows), grid.n))
        )
        self._past.sites.narrow(able, system.rows_of, image)
        able = firm(able, rows, granted, image)
        # Arrivals come in spikes, whose median says nothing of their energy; the mean does.
        coming = np.flatnonzero(vehicle)
        inflow = [
            less_expected(
                seen.value_kw[seen.series.index(groups[g])].mean(axis=0),
                system.rows_of[groups[g]], granted, image, grid,
            )
            for g in coming
        ]  # fmt: skip
        stays = [self._past.coming(groups[g], system.site, grid, image.now_s) for g in coming]
        expected = arriving(grid, [f"{groups[g]}/expected" for g in coming], np.array(inflow), stays)
        group = np.concatenate([group, coming])
        order = np.argsort(group, kind="stable")
        both = _joined(able, expected, order)
        return Members(both, groups, group[order]), np.append(rows, np.full(len(coming), -1))[order]

    def _own_price(self, group: str, grid: TimeGrid) -> Money:
        """(T,) what a plan group's owners pay per kWh: the class is in the group's name."""
        return prices(self._tariffs[group.split("/")[2]], grid)[0]


def _joined(one: Flexibility, other: Flexibility, order: NDArray[np.int64]) -> Flexibility:
    """The rows of both in another order."""
    names = (*one.groups, *other.groups)
    tables = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])[order]
        for name in (*_TABLES, *_COLUMNS)
    }
    return Flexibility(one.grid, tuple(names[k] for k in order.tolist()), **tables)


def horizon(now_s: int, settings: Settings) -> TimeGrid:
    """Quarter-hours first, then hours: 36 steps look a day ahead at a third of the size."""
    start_s = now_s - now_s % settings.plan_s
    fine = start_s + 900 * np.arange(settings.fine_steps + 1, dtype=np.int64)
    coarse = fine[-1] + 3_600 * np.arange(1, settings.coarse_steps + 1, dtype=np.int64)
    return TimeGrid(np.concatenate([fine, coarse]))


def plan_entry(planned: Planned) -> Entry:
    """The plan as a chained record of columns."""
    schedule = planned.schedule
    tight = [r for r in schedule.reasons if r.slack_kw > 1e-3]
    head: dict[str, Json] = {
        "text": f"plan of {len(schedule.groups)} groups, peak {schedule.peak_kw:.0f} kW",
        "peak_kw": round(schedule.peak_kw, 3),
        "cost": round(schedule.cost - schedule.penalty, 6),
        "penalty": round(schedule.penalty, 6),
        "groups": list(schedule.groups),
        "gave": [f"{r.row}: {r.slack_kw:.1f} kW" for r in tight[:20]],
    }
    columns: dict[str, NDArray[np.generic]] = {
        "edges_s": schedule.grid.edges_s,
        "p_kw": np.asarray(schedule.p_kw, dtype=np.float32).ravel(),
        "net_kw": np.asarray(schedule.net_kw, dtype=np.float32),
        "price": np.asarray(schedule.price, dtype=np.float32),
    }
    if planned.grounds is not None:
        names, why = packed(planned.grounds)
        head |= names
        cells = np.argwhere(np.abs(planned.moved_kw) > MOVED_KW).astype(np.int32)
        why["moved_row"], why["moved_step"] = cells[:, 0].copy(), cells[:, 1].copy()
        why["moved_kw"] = planned.moved_kw[tuple(cells.T)].astype(np.float32)
        columns |= why
    if planned.granted:
        head["granted"] = [asdict(one) for one in planned.granted]
    if planned.settings is not None:
        columns["set_row"] = planned.settings.rows
        columns["set_lo_kw"], columns["set_hi_kw"] = planned.settings.lo_kw, planned.settings.hi_kw
    if planned.priced is not None:
        head["price_by"] = [WORDS[by] for by in planned.priced.by.tolist()]
        columns["price_said"] = np.asarray(planned.priced.said.value_kw, dtype=np.float32).ravel()
    if planned.aim is not None:
        head["goals"] = [
            {"goal": line.goal, "asked": line.asked, "reached": round(line.reached, 4), "unit": line.unit}
            for line in planned.aim.table
        ]
    return Entry("plan", schedule.made_at_s, head, columns)
