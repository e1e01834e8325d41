"""Goals joined to a plan of devices: its terms with theirs, its members with the bounds they tighten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Rejected
from gridflock.plan._by_device import Members, terms_of_devices
from gridflock.plan._coupling import parts_by_row
from gridflock.plan._grounds import EXPORT_TARIFF, IMPORT_TARIFF, OWNER, Grounds, Kept
from gridflock.plan._grounds import Part as Summand
from gridflock.plan._terms import Terms, premiums
from gridflock.plan._value import valued
from gridflock.plan.goals._part import Goal, nothing
from gridflock.plan.goals._part import Members as Sums
from gridflock.plan.goals._pursue import Reached, table_of
from gridflock.plan.goals._tier import dearest_of
from gridflock.plan.goals._weigh import Compiled, Ranked, Weighed, weigh
from gridflock.plan.goals.bounds import VoltageReduction
from gridflock.plan.goals.money import DemandCharge, EnergyCost
from gridflock.units import Kw

_SLIGHTLY_KWH = 1e-6
_FREE = 1e-9
"""Money per kWh below which a part of a price is none."""
MONEY, DEMAND = "energy cost", "demand charge"
"""Goals that a plan has by itself: its tariff and its demand charge."""


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """What is to be planned for goals, and what they came to.

    Attributes:
        members: devices with raised floors and owners' costs.
        terms: of the plan, with the goals' prices and rows, as weighed.
        own: the same at the goals' own prices.
        weighed: the goals compiled among the devices.
        rejected: fields that break a rule; their goals are left out.
    """

    members: Members
    terms: Terms
    own: Terms
    weighed: Weighed
    rejected: tuple[Rejected, ...]

    def table(self, p_kw: Kw) -> tuple[Reached, ...]:
        """How far the devices' powers ``p_kw`` (m, T) got with each goal, by rank."""
        return table_of(self.weighed, p_kw, np.array([c.factor for c in self.weighed.compiled]))

    def money(self, p_kw: Kw) -> float:
        """What the devices' powers come to at the goals' own prices, without what giving way is charged."""
        return self.bill(p_kw, self.own)

    def named(self, grounds: Grounds) -> Grounds:
        """The grounds of the plan with what goals add to prices and to stores' edges under their names.

        Args:
            grounds: of the devices; its tariffs hold the goals' prices.
        """
        own = (MONEY, DEMAND)
        goals = {
            c.goal.name: c.part.priced(c.factor) for c in self.weighed.compiled if c.goal.name not in own
        }
        every = np.arange(len(grounds.flexibility.groups))
        out = np.any([part.price != 0.0 for part in grounds.parts if part.name == EXPORT_TARIFF], axis=0)
        added = {name: np.where(out, part.export_price, part.import_price) for name, part in goals.items()}
        more = np.sum([np.zeros(len(grounds.flexibility.grid.hours)), *added.values()], axis=0)
        parts = []
        for part in grounds.parts:
            mine = {IMPORT_TARIFF: ~out, EXPORT_TARIFF: out}.get(part.name, np.zeros_like(more, dtype=bool))
            if part.name != OWNER:
                parts.append(replace(part, price=part.price - np.where(mine, more, 0.0)))
        parts += [Summand(name, every, np.ones(len(every)), price) for name, price in added.items()]
        premium = premiums(grounds.flexibility, terms_of_devices(self.members, self.terms))
        owners = premium - np.sum(
            [np.zeros_like(premium), *(part.premium for part in goals.values())], axis=0
        )
        parts += parts_by_row(OWNER, owners)
        for name, goal in goals.items():
            parts += parts_by_row(name, goal.premium)
        kept = tuple(part for part in parts if np.abs(part.price).max(initial=0.0) > _FREE)
        return replace(grounds, parts=kept, kept=self.kept())

    def kept(self) -> tuple[Kept, ...]:
        """Goals that have stores hold more than they would have to."""
        before, found = self.weighed.setting.flexibility.x_lo_kwh, []
        for c in self.weighed.compiled:
            raised = c.part.floor_kwh > before + _SLIGHTLY_KWH
            if raised.any():
                rows, edges = np.flatnonzero(raised.any(axis=1)), np.flatnonzero(raised.any(axis=0))
                found.append(Kept(c.goal.name, rows, edges))
        return tuple(found)

    def bill(self, p_kw: Kw, terms: Terms) -> float:
        """What the devices' powers come to in money at terms of the groups."""
        f = self.members.flexibility
        return valued(f, p_kw, self.weighed.fixed_kw, terms_of_devices(self.members, terms)).money


def sought(
    goals: Sequence[Goal],
    order: Sequence[Sequence[str]],
    members: Members,
    fixed: Kw,
    terms: Terms,
    now_s: int,
    sums: Mapping[str, Sums],
) -> Sought:
    """Join goals to a plan of devices, ranked by prices.

    The plan's own tariff and demand charge take part under ``MONEY`` and ``DEMAND``, so that goals can be
    ranked before and after them. What ``order`` leaves out comes last.

    Args:
        goals: over this horizon.
        order: names by rank; empty where all are weighed by their own prices.
        members: who is planned.
        fixed: (T,) kW of everything that takes no orders, injection positive.
        terms: the plan's own, of the groups.
        now_s: moment of planning, unix seconds.
        sums: names that goals use, and the devices they mean.
    """
    money = EnergyCost(terms.import_price, np.minimum(terms.export_price, terms.import_price), name=MONEY)
    by_name: dict[str, Goal] = {MONEY: money}
    if terms.peak_price > 0.0:
        by_name[DEMAND] = DemandCharge(terms.peak_price, terms.peak_so_far_kw, name=DEMAND)
    by_name |= {goal.name: goal for goal in goals}
    tiers = [[by_name.pop(name) for name in tier if name in by_name] for tier in order]
    tiers = [tier for tier in tiers if tier]
    if tiers and by_name:
        tiers[-1] += by_name.values()
    ranked = Ranked(tuple(tuple(tier) for tier in tiers or [list(by_name.values())]))
    weighed = weigh(ranked, members.flexibility, fixed, now_s, {**members.inside, **sums})
    rejected = weighed.rejected
    if weighed.strict:
        rule = "prices cannot stand that far apart; all are weighed by their own prices"
        rejected = (*rejected, Rejected("goals", "order", (), rule))
        weighed = replace(
            weighed, strict=False, compiled=tuple(replace(c, factor=1.0) for c in weighed.compiled)
        )
    if not weighed.whole:
        return Sought(members, terms, terms, weighed, rejected)
    for c in weighed.compiled:
        if isinstance(c.goal, VoltageReduction):
            rejected = (*rejected, Rejected("goal", "kind", (c.goal.name,), "nobody sets voltages by it yet"))
    kept = replace(members, flexibility=weighed.flexibility)
    joined = _joined(kept, terms, weighed.compiled, weighed)
    own = _joined(kept, terms, [replace(c, factor=1.0) for c in weighed.compiled], weighed)
    return Sought(kept, joined, own, weighed, rejected)


def _joined(members: Members, terms: Terms, compiled: Sequence[Compiled], weighed: Weighed) -> Terms:
    """The plan's terms and the goals'; its own two only change their weight."""
    at = weighed.setting
    added, peak_price = [], terms.peak_price
    for c in compiled:
        if c.goal.name == DEMAND:
            peak_price *= c.factor
        elif c.goal.name != MONEY:
            added.append(c.part.priced(c.factor))
    buy = np.sum([terms.import_price, *(part.import_price for part in added)], axis=0)
    sell = np.sum([terms.export_price, *(part.export_price for part in added)], axis=0)
    premium = np.sum([nothing(at).premium, *(part.premium for part in added)], axis=0)
    return replace(
        terms,
        import_price=buy,
        export_price=sell,
        peak_price=peak_price,
        # What conductors and contracts allow comes before any goal.
        limit_penalty=max(terms.limit_penalty, dearest_of(added, at)),
        premium={**terms.premium, **_premiums(members, terms, premium)},
        blocks=(*terms.blocks, *(block for part in added for block in part.blocks)),
    )


def _premiums(members: Members, terms: Terms, premium: Kw) -> dict[str, Kw]:
    """By device what goals pay it beside its owner's tariff, where they do."""
    found: dict[str, Kw] = {}
    for row in np.flatnonzero(premium.any(axis=1)).tolist():
        device, group = members.flexibility.groups[row], members.names[int(members.group[row])]
        owner = terms.premium.get(device, terms.premium.get(group, 0.0))
        found[device] = owner + premium[row]
    return found
