"""Engineered limits: what may move at once, in a while, and by whom."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from gridflock.fleet import Image
from gridflock.model import Priority, Proposal, Rejected
from gridflock.schema import Family

_OURS = (Priority.SAFETY, Priority.ENVELOPE, Priority.SCHEDULE)
_WISHING = frozenset({"plan", "grid", "feedback"})
"""Authors of this program's own wishes, which weigh as ``_OURS``."""
OWN = _WISHING | {"local", "gridflock"}
"""Authors that are this program, or code in its process: the loop's limits are theirs, no budget is."""


@dataclass(frozen=True, slots=True)
class GroupLimit:
    """What may move in one feeder or group, whoever asks.

    Attributes:
        group: id of the feeder or group.
        step_kw: largest change of its injection by the orders of one tick, either way.
        rate_kw_s: the same for each second since the tick before.
        share: largest share of its members that may get a *changed* order in one tick.
        moved_kw: most that orders may move in any ``window_s``, both ways added.
        step_kvar: largest change of its reactive injection by the orders of one tick, either way.
        rate_kvar_s: the same for each second since the tick before.
        reversals: most changes of direction of what its members do together in any ``reversal_s``, of active
            and of reactive power each: a change against the way it went, in all, by more than a twentieth of
            the group's size.
    """

    group: str
    step_kw: float = math.inf
    rate_kw_s: float = math.inf
    share: float = 1.0
    moved_kw: float = math.inf
    step_kvar: float = math.inf
    rate_kvar_s: float = math.inf
    reversals: float = math.inf

    @property
    def binds(self) -> bool:
        """Whether anything is limited at all."""
        steps = (self.step_kw, self.rate_kw_s, self.step_kvar, self.rate_kvar_s)
        return min(*steps, self.moved_kw, self.reversals) < math.inf or self.share < 1.0


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What may move. The first four hold over everything, ``groups`` for parts of it.

    Attributes:
        step_kw: largest change of the whole injection by orders of one tick, either way. A
            single resource that would have to move by more is never moved: choose it above the
            largest unit.
        rate_kw_s: the same for each second since the tick before.
        share: largest share of the fleet that may get a *changed* order in one tick.
        moved_kw: most that orders may move in any ``window_s``, both ways added.
        groups: limits of feeders and groups; they may overlap.
        window_s: length of the rolling window of ``moved_kw`` and of budgets.
        budget_kw: most that one external credential may move in any window, there and back.
        budget_share: the same as a share of the fleet's size; the smaller of the two holds.
        budgets: kW for credentials that have a budget of their own.
        approval_kw: what a credential may hold displaced by itself; more needs a second person.
        approval_s: life of an approval.
        waiting_s: how long a proposal waits for one.
        reversals: most changes of direction of one resource in any ``reversal_s``, of its active and of its
            reactive power each.
        reversal_s: the window of reversals.
        canary_share: share of its members that the first orders of an author go to.
        canary_least: and to so many at least.
        canary_from: authors who have asked fewer members within ``canary_window_s`` are not tried out.
        canary_kw: authors who move more than this within ``canary_window_s`` are tried out all the same, on
            no more than this, or on one resource.
        canary_window_s: so far back it counts whom an author has asked, few at a time or all at once.
        canary_good: share of those that must answer well before the rest is asked; some never answer.
        trial_s: who has not answered for so long, and as long as it takes to hear (``reach_s``), is silent;
            after a failed trial nothing new goes out for ``trial_s`` and as long as the slowest of those that
            were asked takes, an hour at most.
        settle_s: a device's reading tells what an order did when it is younger by so much, and by its
            ``reach_s``.
        step_kvar: largest change of the whole reactive injection by orders of one tick, either way.
        rate_kvar_s: the same for each second since the tick before.
        return_s: within so long orders come again after "all to default", one by one by lot; 0: as fast as
            the steps let them.
        take_back_s: within so long "all to default" takes orders back, one by one by lot and within the
            steps; 0: all at once, whatever they move.
        goals_s: life of an approval of goals, or of what a system above asks; approving again prolongs it.
    """

    step_kw: float = 150.0
    rate_kw_s: float = math.inf
    share: float = 1.0
    moved_kw: float = math.inf
    groups: tuple[GroupLimit, ...] = ()
    window_s: int = 300
    budget_kw: float = math.inf
    budget_share: float = math.inf
    budgets: Mapping[str, float] = field(default_factory=dict)
    approval_kw: float = math.inf
    approval_s: int = 4 * 3_600
    waiting_s: int = 1_800
    reversals: int = 1_000
    reversal_s: int = 900
    canary_share: float = 1.0
    canary_from: int = 100
    canary_least: int = 5
    canary_good: float = 0.5
    canary_kw: float = math.inf
    canary_window_s: int = 86_400
    trial_s: int = 300
    settle_s: int = 15
    step_kvar: float = math.inf
    rate_kvar_s: float = math.inf
    goals_s: int = 86_400
    return_s: int = 120
    take_back_s: int = 0

    @property
    def bounds_people(self) -> bool:
        """Whether what one credential moves is limited at all."""
        return bool(self.budgets) or min(self.budget_kw, self.budget_share, self.approval_kw) < math.inf

    @property
    def whole(self) -> GroupLimit:
        """The limit of everything, as that of a group."""
        return GroupLimit(
            "", self.step_kw, self.rate_kw_s, self.share, self.moved_kw, self.step_kvar, self.rate_kvar_s
        )

    def budget_of(self, credential: str, fleet_kw: float) -> float:
        """What a credential may move in a window, kW, in a fleet of a size in kW."""
        if credential in self.budgets:
            return self.budgets[credential]
        share = math.inf if math.isinf(self.budget_share) else self.budget_share * fleet_kw
        return min(self.budget_kw, share)

    def external(self, wish: Proposal) -> bool:
        """Whether a proposal came from outside: neither the program's own wish nor code in its process."""
        if wish.author in _WISHING:
            return wish.priority not in _OURS
        return wish.author not in OWN

    def outside(self, author: str) -> bool:
        """Whether what an author asks of the plan, or of a mode, counts as asked by one person alone."""
        return self.bounds_people and bool(author) and author not in OWN

    def fleet_kw(self, image: Image) -> float:
        """Size of the fleet that takes orders: each resource by its larger side, kW."""
        low, high = image.columns["p_min_kw"], image.columns["p_max_kw"]
        size = np.maximum(-low, high)
        return float(size[image.family != Family.NONE].sum(dtype=np.float64))

    def faults(self, groups: Collection[str] | None = None) -> tuple[Rejected, ...]:
        """What is wrong with the limits, each by name; ``groups``: those that exist, where known."""
        found = _wrong(self, "guard", "")
        for limit in self.groups:
            found += _wrong(limit, "guard group", limit.group)
            if groups is not None and limit.group not in groups:
                found.append(Rejected("guard group", "group", (limit.group,), "no such feeder or group"))
        names = [limit.group for limit in self.groups]
        found += [
            Rejected("guard group", "group", (name,), "has more than one limit")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        found += [
            Rejected("guard", "budgets", (name,), f"{kw!r} is no power of at least 0 kW")
            for name, kw in self.budgets.items()
            if not _at_least(kw, 0.0)
        ]
        return tuple(found)


def _wrong(limits: GuardLimits | GroupLimit, component: str, of: str) -> list[Rejected]:
    """Fields outside their range."""
    ids = (of,) if of else ()
    found = []
    for one in fields(limits):
        least, most, rule = _RANGES.get(one.name, (-math.inf, math.inf, ""))
        value = getattr(limits, one.name)
        if rule and not (_at_least(value, least) and value <= most):
            found.append(Rejected(component, one.name, ids, f"{value!r} is not {rule}"))
    return found


_Range = tuple[float, float, str]
_COUNT: _Range = (0.0, math.inf, "a number of at least 0")
_POWER: _Range = (0.0, math.inf, "at least 0 (inf: no limit)")
_SHARE: _Range = (0.0, 1.0, "from 0 to 1")
_TIME: _Range = (1.0, 86_400.0, "from 1 s to a day")
_RANGES: Mapping[str, _Range] = {
    **dict.fromkeys(
        ("step_kw", "rate_kw_s", "moved_kw", "budget_kw", "budget_share", "approval_kw", "canary_kw"), _POWER
    ),
    **dict.fromkeys(("step_kvar", "rate_kvar_s"), _POWER),
    **dict.fromkeys(("share", "canary_share", "canary_good"), _SHARE),
    **dict.fromkeys(
        ("window_s", "reversal_s", "approval_s", "waiting_s", "trial_s", "settle_s", "canary_window_s"), _TIME
    ),
    "goals_s": _TIME,
    **dict.fromkeys(("return_s", "take_back_s"), (0.0, 86_400.0, "from 0 s to a day")),
    **dict.fromkeys(("reversals", "canary_from", "canary_least"), _COUNT),
}


def _at_least(value: object, least: float) -> bool:
    """Whether a value is a number that is not below a bound; NaN is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least
