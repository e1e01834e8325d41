"""From goals to the terms of one problem: checked, ranked, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility, Rejected
from gridflock.plan._check import misshapen, sound
from gridflock.plan._terms import Block, Terms
from gridflock.plan.goals._kinds import mistyped
from gridflock.plan.goals._part import NOBODY, Goal, Members, Part, Setting
from gridflock.plan.goals._tier import dearest_of, factors_of
from gridflock.plan.goals.bounds import VoltageReduction, VoltageWish
from gridflock.plan.goals.money import EnergyCost
from gridflock.units import Kw

_TOLERANCE, _RATIO = 1e-4, 10.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """Goals in order: each tier comes before the next.

    By default through prices: those of a tier are raised until a kWh of it outweighs ``ratio`` kWh of
    everything below. ``strict`` solves in turn instead and keeps each tier within a tolerance of its
    best; that costs one solution per tier and holds whatever the numbers are. Where prices would have to
    stand too far apart for the solver, tiers are solved in turn as well.

    Attributes:
        tiers: goals, or several that share a rank and are weighted by their own prices.
        strict: order by solving in turn.
        tolerance: what a lower tier may take of a higher one's best, as a share of it and at least of
            one unit of money at the goal's own price.
        ratio: between the prices of tiers, >= 1.
    """

    tiers: tuple[Goal | tuple[Goal, ...], ...]
    strict: bool = False
    tolerance: float = _TOLERANCE
    ratio: float = _RATIO


Goals = Ranked | Sequence[Goal]


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A goal and what became of it.

    Attributes:
        goal: without faults.
        rank: tier, 0 first; 0 for all where nothing is ranked.
        factor: by which its own prices were raised.
        part: at its own prices.
    """

    goal: Goal
    rank: int
    factor: float
    part: Part


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Goals as input of the plan.

    Attributes:
        flexibility: with raised floors and owners' costs.
        fixed_kw: (T,).
        terms: prices, rows and variables of all goals.
        compiled: the goals that are in.
        setting: the problem as it was before.
        voltage: what the network level is asked for, one per goal about voltage.
        rejected: fields that break a rule; their goals are left out.
        strict: whether to solve in turn.
        tolerance: then kept by each tier.
        whole: False where arrays do not fit together, so that nothing can be planned.
    """

    flexibility: Flexibility
    fixed_kw: Kw
    terms: Terms
    compiled: tuple[Compiled, ...]
    setting: Setting
    voltage: tuple[VoltageWish, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    strict: bool = False
    tolerance: float = _TOLERANCE
    whole: bool = True


def weigh(
    goals: Goals,
    flexibility: Flexibility,
    fixed: Kw,
    now_s: int,
    members: Mapping[str, Members] = NOBODY,
) -> Weighed:
    """Compile goals into terms; whatever breaks a rule is named and left out.

    Args:
        goals: weighted by their own prices, or ``Ranked``.
        flexibility: G groups over T steps.
        fixed: (T,) kW of everything that takes no orders, injection positive.
        now_s: moment of planning, unix seconds.
        members: sums that goals name: transformers, phases, customers.
    """
    bare = _bare(flexibility.grid.n)
    wrong = misshapen(flexibility, fixed, bare)
    if wrong:
        at = Setting(flexibility, fixed, members, now_s)
        return Weighed(flexibility, fixed, bare, (), at, rejected=wrong, whole=False)
    clean = sound(flexibility, fixed, bare)
    at = Setting(clean.flexibility, clean.fixed_kw, members, now_s)
    order, odd = _order(goals)
    ranked, faults = _sorted(order, at)
    compiled, in_turn = _compiled(ranked, order, at)
    raised = _raised(clean.flexibility, compiled)
    final = sound(raised, clean.fixed_kw, _terms(compiled, at))
    terms = replace(final.terms, blocks=_blocks(compiled))
    wishes = tuple(c.goal.wish(at) for c in compiled if isinstance(c.goal, VoltageReduction))
    return Weighed(
        final.flexibility,
        clean.fixed_kw,
        terms,
        compiled,
        at,
        wishes,
        (*clean.rejected, *odd, *faults, *final.rejected),
        in_turn,
        order.tolerance,
    )


def _bare(n: int) -> Terms:
    """Terms of ``n`` steps that want nothing."""
    steps = max(n, 0)
    endless, free = np.full(steps, np.inf), np.zeros(steps)
    return Terms(free, free, endless, endless)


def _order(goals: Goals) -> tuple[Ranked, tuple[Rejected, ...]]:
    """The goals as tiers; a plain sequence is one tier."""
    order = goals if isinstance(goals, Ranked) else Ranked((tuple(goals),))
    odd = []
    if not 0 < order.tolerance < np.inf:
        odd.append(Rejected("goal", "tolerance", (), f"{order.tolerance} is not a finite number > 0"))
        order = replace(order, tolerance=_TOLERANCE)
    if not 1 <= order.ratio < np.inf:
        odd.append(Rejected("goal", "ratio", (), f"{order.ratio} is not a finite number >= 1"))
        order = replace(order, ratio=_RATIO)
    return order, tuple(odd)


def _sorted(order: Ranked, at: Setting) -> tuple[list[tuple[int, Goal]], tuple[Rejected, ...]]:
    """Sound goals with their rank, and what is wrong with the others."""
    tiers = [tier if isinstance(tier, tuple | list) else (tier,) for tier in order.tiers]
    all_goals = [(rank, goal) for rank, tier in enumerate(tiers) for goal in tier]
    count = Counter(str(goal.name) for _, goal in all_goals)
    found = [
        Rejected("goal", "name", (name,), "given to several goals; they are left out", count=times)
        for name, times in count.items()
        if times > 1
    ]
    kept = []
    for rank, goal in all_goals:
        faults = mistyped(goal) or goal.faults(at)
        found += faults
        if not faults and count[str(goal.name)] == 1:
            kept.append((rank, goal))
    return kept, tuple(found)


def _compiled(
    ranked: list[tuple[int, Goal]], order: Ranked, at: Setting
) -> tuple[tuple[Compiled, ...], bool]:
    """The goals with their factors, and whether tiers are solved in turn."""
    parts = [goal.part(at) for _, goal in ranked]
    ranks = [rank for rank, _ in ranked]
    money = [rank for rank, goal in ranked if isinstance(goal, EnergyCost)]
    factors: list[float] | None = [1.0] * len(ranked)
    if len(order.tiers) > 1 and not order.strict:
        factors = factors_of(parts, ranks, at, order.ratio, money[0] if money else -1)
    in_turn = order.strict or factors is None
    rows = zip(ranked, factors or [1.0] * len(ranked), parts, strict=True)
    return tuple(Compiled(goal, rank, factor, part) for (rank, goal), factor, part in rows), in_turn


def _raised(f: Flexibility, compiled: Sequence[Compiled]) -> Flexibility:
    """Owners' costs added, floors raised."""
    if not compiled:
        return f
    return replace(
        f,
        x_lo_kwh=np.max([f.x_lo_kwh, *(c.part.floor_kwh for c in compiled)], axis=0),
        cost_up=f.cost_up + np.sum([c.factor * c.part.cost_up for c in compiled], axis=0),
        cost_down=f.cost_down + np.sum([c.factor * c.part.cost_down for c in compiled], axis=0),
    )


def _terms(compiled: Sequence[Compiled], at: Setting) -> Terms:
    bare = _bare(at.n)
    premium = np.zeros((len(at.flexibility.groups), at.n))
    buy, sell = bare.import_price.copy(), bare.export_price.copy()
    for c in compiled:
        part = c.part.priced(c.factor)
        buy, sell, premium = buy + part.import_price, sell + part.export_price, premium + part.premium
    # Bands of stores yield at a multiple of this: no goal's price may come near it.
    dearest = max(bare.limit_penalty, dearest_of([c.part.priced(c.factor) for c in compiled], at))
    return replace(
        bare,
        import_price=buy,
        export_price=sell,
        limit_penalty=dearest,
        premium={group: premium[k] for k, group in enumerate(at.flexibility.groups) if premium[k].any()},
    )


def _blocks(compiled: Sequence[Compiled]) -> tuple[Block, ...]:
    return tuple(block for c in compiled for block in c.part.priced(c.factor).blocks)
