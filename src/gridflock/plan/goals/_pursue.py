"""Plan for goals, in one solution or tier by tier, and say how far it got with each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility, Reason, Rejected, Schedule
from gridflock.plan._check import Sound
from gridflock.plan._plan import one_way, plan, schedule_of
from gridflock.plan.direct._model import Model
from gridflock.plan.direct._solve import Floats, Program, Solution, solve
from gridflock.plan.goals._part import NOBODY, Members, Part
from gridflock.plan.goals._weigh import Goals, Weighed, weigh
from gridflock.plan.goals.money import EnergyCost
from gridflock.units import Kw

_SHOWN = 1e-6
"""Less than this is the solver's rounding: shown as 0."""


@dataclass(frozen=True, slots=True)
class Reached:
    """One line of the table of goals.

    Attributes:
        goal: name.
        rank: tier, 0 first.
        asked: in words with the numbers.
        reached: less is better.
        unit: of ``reached``.
        price: money per unit at which the goal was weighed in the end: its own, raised by its tier or by
            what keeping the order was worth.
        facts: further figures of the goal, the unit as suffix.
        cost: money that the plan would save without the goal; NaN where that was not worked out.
    """

    goal: str
    rank: int
    asked: str
    reached: float
    unit: str
    price: float
    facts: Mapping[str, float]
    cost: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Pursued:
    """A schedule and what it means for each goal.

    Attributes:
        schedule: as ``plan`` gives it; ``cost`` is at the goals' own prices.
        table: one line per goal, by rank.
        weighed: the terms it was planned with, voltage wishes among them.
        rejected: fields that break a rule; their goals are not in the plan.
    """

    schedule: Schedule
    table: tuple[Reached, ...]
    weighed: Weighed
    rejected: tuple[Rejected, ...]

    def reached(self, goal: str) -> Reached:
        """The line of a goal.

        Raises:
            KeyError: no such goal is in the plan.
        """
        for line in self.table:
            if line.goal == goal:
                return line
        raise KeyError(goal)


def pursue(
    goals: Goals,
    flexibility: Flexibility,
    fixed: Kw,
    now_s: int,
    members: Mapping[str, Members] = NOBODY,
) -> Pursued:
    """The best schedule for goals, weighted or ranked.

    Args:
        goals: weighted by their own prices, or ``Ranked``.
        flexibility: G groups over T steps.
        fixed: (T,) kW of everything that takes no orders, injection positive.
        now_s: moment of planning, unix seconds.
        members: sums that goals name: transformers, phases, customers.

    Returns:
        There is always a schedule; ``rejected`` says which goals are not in it, the schedule's reasons
        which rows bind or gave way.
    """
    weighed = weigh(goals, flexibility, fixed, now_s, members)
    if not weighed.whole:
        return Pursued(plan(flexibility, fixed, weighed.terms, now_s), (), weighed, weighed.rejected)
    given = Sound(weighed.flexibility, weighed.fixed_kw, weighed.terms, weighed.rejected)
    raised = np.array([c.factor for c in weighed.compiled])

    def solved(model: Model) -> Solution:
        nonlocal raised
        solution, raised = _solved(model, weighed)
        return solution

    model, solution, up, down = one_way(given, solved)
    if not solution.ok:
        return Pursued(_at_rest(given, solution.status, now_s), (), weighed, weighed.rejected)
    schedule = schedule_of(given, model, solution, up - down, now_s)
    schedule = replace(schedule, cost=_own_cost(model, weighed, solution))
    return Pursued(schedule, table_of(weighed, schedule.p_kw, raised), weighed, weighed.rejected)


def _at_rest(given: Sound, status: str, now_s: int) -> Schedule:
    """Everybody does what they would do unasked, and why."""
    f = given.flexibility
    still = replace(f, up_kw=np.zeros_like(f.up_kw), down_kw=np.zeros_like(f.down_kw))
    schedule = plan(still, given.fixed_kw, replace(given.terms, blocks=()), now_s)
    why = Reason(f"no plan for these goals: the solver said {status}; all groups at base", 0, 0.0)
    return replace(schedule, reasons=(why, *schedule.reasons))


def table_of(weighed: Weighed, p_kw: Kw, raised: Floats) -> tuple[Reached, ...]:
    """How far the groups' powers ``p_kw`` (G, T) got with each goal, its price raised by so much, by rank."""
    lines = []
    for c, factor in zip(weighed.compiled, raised, strict=True):
        got = c.goal.reading(weighed.setting, p_kw)
        price = got.price * float(factor)
        lines.append(Reached(c.goal.name, c.rank, got.asked, got.value, got.unit, price, got.facts))
    return tuple(sorted(lines, key=lambda line: line.rank))


def shown(table: Iterable[Reached]) -> str:
    """The table of goals as text, one line per goal."""
    rows = [("rank", "goal", "asked", "reached", "price")]
    rows += [
        (
            str(line.rank + 1),
            line.goal,
            line.asked,
            f"{line.reached if abs(line.reached) > _SHOWN else 0.0:.4g} {line.unit}",
            "-" if np.isnan(line.price) else f"{line.price:.4g} per {line.unit.split()[0]}",
        )
        for line in table
    ]
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, wide, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _solved(model: Model, weighed: Weighed) -> tuple[Solution, Floats]:
    """One solution, or one per tier and a last one for all; and by what each goal was raised."""
    raised = np.array([c.factor for c in weighed.compiled])
    if not weighed.strict:
        return solve(model.program), raised
    own, rest = _costs(model, weighed)
    kept: list[tuple[Floats, float]] = []
    ranks = sorted({c.rank for c in weighed.compiled})
    for rank in ranks:
        cost = own[[c.rank == rank for c in weighed.compiled]].sum(axis=0)
        money = any(c.rank == rank and isinstance(c.goal, EnergyCost) for c in weighed.compiled)
        aim = cost + (rest if money else _bands(model, rest))
        found = solve(_posed(model.program, aim, kept))
        if not found.ok:
            return found, raised
        kept.append((aim, found.cost + weighed.tolerance * max(1.0, abs(found.cost))))
    last = solve(_posed(model.program, own.sum(axis=0) + rest, kept))
    if last.ok:
        worth = np.maximum(-last.row_price[model.program.n_rows :], 0.0)
        raised = np.array([1.0 + worth[ranks.index(c.rank)] for c in weighed.compiled])
    return last, raised


def _posed(program: Program, cost: Floats, kept: list[tuple[Floats, float]]) -> Program:
    """The program with another aim and a row for every tier that is to be kept."""
    posed = replace(
        program,
        cost=[cost],
        row_lo=list(program.row_lo),
        row_hi=list(program.row_hi),
        entry_row=list(program.entry_row),
        entry_col=list(program.entry_col),
        entry_value=list(program.entry_value),
        shortcut=None,  # made for the costs the program had
    )
    for aim, most in kept:
        row = posed.rows(np.array([-np.inf]), np.array([most]))
        there = np.flatnonzero(aim)
        posed.put(row, there, aim[there])
    return posed


def _costs(model: Model, weighed: Weighed) -> tuple[Floats, Floats]:
    """Cost of every column at each goal's own prices (goals, columns), and what belongs to none."""
    total = np.concatenate(model.program.cost)
    own, start = [], 0
    for c in weighed.compiled:
        until = start + len(c.part.blocks)
        cost = _cost_at_head(model, c.part, weighed.flexibility.grid.hours, len(total))
        for placed in model.blocks[start:until]:
            cost[placed.columns] += placed.cost / c.factor
        own.append(cost)
        start = until
    stack = np.array(own).reshape(len(own), len(total))
    factors = np.array([c.factor for c in weighed.compiled])
    return stack, total - factors @ stack


def _cost_at_head(model: Model, part: Part, hours: Floats, columns: int) -> Floats:
    """Prices and owners' costs of a part, by column."""
    cost = np.zeros(columns)
    head = np.stack([part.import_price, -part.export_price]) * hours
    up = (part.cost_up[:, None] - part.premium) * hours
    down = (part.cost_down[:, None] + part.premium) * hours
    places = ((model.inside, head), (model.beyond, head), (model.up, up), (model.down, down))
    for where, money in places:
        there = where >= 0
        cost[where[there]] = money[there]
    return cost


def _bands(model: Model, rest: Floats) -> Floats:
    """What giving up a store's band costs: no tier may."""
    bands = np.zeros(len(rest))
    bands[model.band_slack] = rest[model.band_slack]
    return bands


def _own_cost(model: Model, weighed: Weighed, solution: Solution) -> float:
    """Objective at the goals' own prices."""
    own, rest = _costs(model, weighed)
    return float((own.sum(axis=0) + rest) @ solution.value)
