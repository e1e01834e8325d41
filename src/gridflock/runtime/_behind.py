"""Who stands behind what is asked of the plan: goals that one person stated, and what a system above asks.

What the owner wants, and code in the same process, is the plan's own. What a credential from outside asks
makes a plan of its own beside it, and ``dispatch.guard`` says how far that is followed.
"""

from __future__ import annotations

import numpy as np

from gridflock.dispatch.guard._diverted import Behind
from gridflock.model import Directive
from gridflock.plan.goals.stated import Stated, StatedGoal
from gridflock.runtime._allowed import id_of
from gridflock.runtime._settings import Settings
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.units import Rows


def own_and_asked(settings: Settings) -> tuple[Stated, tuple[Behind, Stated] | None]:
    """The goals that would hold anyway, and those that one person stated, with who that is."""
    goals = settings.goals or Stated()
    if not settings.policy.guard.outside(goals.author):
        return goals, None
    return settings.own_goals or Stated(), (Behind(goals.author, goals.id, goals.moves_kw), goals)


def behind_directive(directive: Directive | None, settings: Settings, system: System) -> Behind | None:
    """Who asks as a system above; None where nobody does, or code in the same process."""
    if directive is None or not settings.policy.guard.outside(directive.author):
        return None
    head = settings.policy.head_group
    return Behind(directive.author, id_of(directive.author), span_kw(system, system.rows_of[head]))


def span_kw(system: System, rows: Rows) -> float:
    """The most that orders could displace resources, kW: each from one end of its nameplate to the other."""
    fleet = system.fleet
    mine = rows[fleet.family[rows] != Family.NONE]
    low, high = fleet.columns["p_min_kw"][mine], fleet.columns["p_max_kw"][mine]
    return float((high.astype(np.float64) - low).sum())


def goals_kw(goals: Stated, before: Stated, system: System) -> float:
    """The most that other goals than before could displace, kW: all that the groups in question can move.

    Goals that name nobody, and another order, are about everybody.
    """
    changed = [goal for goal in goals.goals if goal not in before.goals]
    changed += [goal for goal in before.goals if goal not in goals.goals]
    if goals.order != before.order:
        changed = [*goals.goals, *before.goals]
    everybody = system.rows_of[_ALL]
    if any(not goal.names for goal in changed):
        return span_kw(system, everybody)
    return span_kw(system, _members(changed, system))


_ALL = "all"


def _members(goals: list[StatedGoal], system: System) -> Rows:
    """Everybody whom goals name, once."""
    names = dict.fromkeys(name for goal in goals for name in goal.names if name in system.rows_of)
    rows: Rows = np.unique(np.concatenate([np.empty(0, dtype=np.int32), *(system.rows_of[n] for n in names)]))
    return rows
