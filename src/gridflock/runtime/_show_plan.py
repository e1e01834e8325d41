"""The plan as the façade's values: net load, prices, groups, reasons and conflicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from gridflock.model import Reason, Schedule
from gridflock.plan import in_cells
from gridflock.plan.conflict import Conflict, conflicts
from gridflock.plan.network import Held
from gridflock.plan.scenario import BackedOff
from gridflock.runtime import _goals
from gridflock.runtime._market import TARIFF, WORDS
from gridflock.runtime._plan_views import (
    CautionView,
    ClashView,
    ConflictView,
    PlannedView,
    PlanView,
    ReasonView,
    VerdictView,
)
from gridflock.runtime._planning import Planned
from gridflock.runtime._views import number, numbers
from gridflock.units import TimeGrid, iso

GAVE_KW = 1e-3
"""A limit that gave way by less did not."""


def plan(planned: Planned) -> PlanView:
    """The plan in force, with what clashes in it."""
    schedule, terms = planned.schedule, planned.terms
    base = schedule.base_kw.sum(axis=0)
    return PlanView(
        made_at=iso(schedule.made_at_s),
        t=[iso(int(t)) for t in schedule.grid.edges_s],
        net_kw=numbers(schedule.net_kw, 2),
        unasked_kw=numbers(schedule.fixed_kw + base, 2),
        fixed_kw=numbers(schedule.fixed_kw, 2),
        price=numbers(schedule.price, 5),
        tariff=numbers(terms.import_price, 5),
        **_priced(planned),
        peak_kw=number(schedule.peak_kw, 2),
        cost=number(schedule.cost - schedule.penalty, 4),
        penalty=number(schedule.penalty, 4),
        gap=number(planned.gap, 4),
        in_ac=None if planned.held is None else _verdict(planned.held, schedule.grid),
        caution=None if planned.caution is None else _caution(planned.caution),
        goals=[] if planned.aim is None else _goals.table(planned.aim),
        rejected=[] if planned.aim is None else list(_goals.goal_faults(planned.aim.sought.rejected)),
        groups=[
            PlannedView(group, numbers(schedule.p_kw[g], 3), numbers(schedule.base_kw[g], 3))
            for g, group in enumerate(schedule.groups)
        ],
        reasons=list(reasons(schedule)),
        conflicts=[_conflict(found, schedule.grid) for found in clashes(planned)],
    )


def _priced(planned: Planned) -> dict[str, Any]:
    """By what a kWh at the head is priced, and how sure that is."""
    if planned.priced is None:
        price = numbers(planned.terms.import_price, 5)
        return {"tariff_by": [WORDS[TARIFF]] * len(price), "tariff_p10": price, "tariff_p90": price}
    said = planned.priced.said.value_kw[0]
    low, high = (np.where(np.isfinite(row), row, planned.terms.import_price) for row in (said[0], said[-1]))
    by = [WORDS[one] for one in planned.priced.by.tolist()]
    return {"tariff_by": by, "tariff_p10": numbers(low, 5), "tariff_p90": numbers(high, 5)}


def _caution(found: BackedOff) -> CautionView:
    return CautionView(
        target=found.target,
        met=found.met,
        rate_at_most=number(found.rate_at_most),
        nominal_rate=number(found.nominal_rate),
        price=number(found.price),
        named=list(found.named),
    )


def _verdict(held: Held, grid: TimeGrid) -> VerdictView:
    now, before = held.verdict, held.before
    return VerdictView(
        steps=len(now.solved),
        unsolved=int((~now.solved).sum()),
        voltages_before=before.voltages,
        currents_before=before.currents,
        voltages=now.voltages,
        currents=now.currents,
        worst_pu=round(now.worst_pu, 6),
        worst_over=round(now.worst_over, 6),
        v_min_pu=numbers(np.nanmin(held.v_pu, axis=1), 4),
        v_max_pu=numbers(np.nanmax(held.v_pu, axis=1), 4),
        broken=[f"{one}, that is at {iso(int(grid.edges_s[one.step]))}" for one in held.broken],
    )


def clashes(planned: Planned) -> tuple[Conflict, ...]:
    """Which wishes cannot all hold; looked for only where something gave way."""
    if not any(reason.slack_kw > GAVE_KW for reason in planned.schedule.reasons):
        return ()
    if planned.aim is None:
        return conflicts(planned.members.together(), planned.fixed_kw, planned.terms)
    able, terms = in_cells(planned.members, planned.aim.sought.own)
    return conflicts(able, planned.fixed_kw, terms)


def reasons(schedule: Schedule) -> Iterator[ReasonView]:
    """Each limit that costs something, its steps in a row as one: the dearest and the most it gave."""
    places = {reason.row: at for at, reason in reversed(list(enumerate(schedule.reasons)))}
    ordered = sorted(schedule.reasons, key=lambda reason: (places[reason.row], reason.step))
    for row, mine in groupby(ordered, key=lambda reason: reason.row):
        for run in _runs(mine):
            first, last = run[0].step, run[-1].step
            yield ReasonView(
                row,
                iso(int(schedule.grid.edges_s[first])),
                iso(int(schedule.grid.edges_s[last + 1])),
                round(max(reason.price for reason in run), 5),
                round(max(reason.slack_kw for reason in run), 3),
            )


def _runs(found: Iterable[Reason]) -> Iterator[list[Reason]]:
    """Reasons of steps that follow each other."""
    run: list[Reason] = []
    for reason in found:
        if run and reason.step > run[-1].step + 1:
            yield run
            run = []
        run.append(reason)
    yield run


def _conflict(found: Conflict, grid: TimeGrid) -> ConflictView:
    members = [
        ClashView(
            wish=member.wish,
            start=iso(int(grid.edges_s[member.first_step])),
            until=iso(int(grid.edges_s[member.until_step])),
            gives_kw=number(member.gives_kw, 3),
            gives_kwh=number(member.gives_kwh, 3),
            costs=number(member.costs, 4),
            saves=number(member.saves, 4),
        )
        for member in found.members
    ]
    return ConflictView(found.text, members)
