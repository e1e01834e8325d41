"""What fairness costs: the same problem at several alphas, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gridflock.model import Flexibility
from gridflock.plan.goals._part import NOBODY, Goal, Members
from gridflock.plan.goals._pursue import pursue
from gridflock.plan.goals._weigh import Ranked
from gridflock.plan.goals.fairness._share import FairShare
from gridflock.units import Kw


@dataclass(frozen=True, slots=True)
class Policy:
    """What comes of one alpha.

    Attributes:
        alpha: 0 counts kWh alone.
        cost: objective at the goals' own prices without the worth of shares, money.
        value: what is granted at the worth of alpha 0, less ``cost``, money; largest at alpha 0.
        granted_kwh: over all participants.
        least_share: of the one worst off.
        jain: of shares.
        gini: of curtailed energy.
    """

    alpha: float
    cost: float
    value: float
    granted_kwh: float
    least_share: float
    jain: float
    gini: float


def side_by_side(
    share: FairShare,
    beside: Sequence[Goal],
    flexibility: Flexibility,
    fixed: Kw,
    now_s: int,
    members: Mapping[str, Members] = NOBODY,
    above: Sequence[Goal] = (),
    alphas: Sequence[float] = (0.0, 1.0, 2.0, 8.0),
) -> tuple[Policy, ...]:
    """The same problem at several alphas.

    The steep worth of a small share would outbid a limit's price: limits belong above it.

    Args:
        share: who shares; its own alpha is not used.
        beside: goals weighed against the shares by their own prices, such as the cost of energy.
        flexibility: G groups over T steps.
        fixed: (T,) kW, injection positive.
        now_s: moment of planning, unix seconds.
        members: sums that goals name.
        above: goals that come first whatever alpha is, such as limits; kept strictly.
        alphas: 0 most kWh, 1 proportional, large for the smallest share first.

    Raises:
        KeyError: the share itself has faults.
    """
    found = []
    for alpha in alphas:
        goal = replace(share, alpha=alpha)
        tiers = ((*above,), (goal, *beside)) if above else ((goal, *beside),)
        got = pursue(Ranked(tiers, strict=bool(above)), flexibility, fixed, now_s, members)
        line, p_kw = got.reached(share.name), got.schedule.p_kw
        at = got.weighed.setting
        granted = float(goal.granted_kwh(at, p_kw).sum())
        cost = got.schedule.cost + goal.worth_of(at, p_kw)
        value, facts = replace(share, alpha=0.0).worth_of(at, p_kw) - cost, line.facts
        found.append(Policy(alpha, cost, value, granted, facts["least_share"], facts["jain"], facts["gini"]))
    return tuple(found)


def price_of_fairness(policies: Sequence[Policy]) -> tuple[float, ...]:
    """Value each policy loses against the first, which is to be the one at alpha 0, money."""
    return tuple(policies[0].value - policy.value for policy in policies)
