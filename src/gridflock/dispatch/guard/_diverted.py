"""What a credential makes of the plan, and how far the orders follow it.

A goal moves nobody by itself: a plan for all goals together does. So a tick with goals, prices or bounds that
an outside credential asked for is decided twice, with and without them. The difference of the targets, row by
row, is what the credential diverts; it is held to the same budget as its proposals, there and back, and what
goes beyond is not followed: targets stay on the straight way between both decisions, so that every limit on
sums that both keep is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridflock.dispatch.guard._limits import GuardLimits
from gridflock.dispatch.guard._memory import Memory
from gridflock.dispatch.guard._rules import Rules
from gridflock.units import Kw

Course = Callable[[float], Kw]
"""From a share of the way, 0 to 1, to (n,) by how much targets are diverted then; 0 diverts nothing."""
_PARTS = 1_024
"""Shares are tried to so many parts."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Who stands behind what makes a plan, or the limits of a tick, others than they would be.

    Attributes:
        author: credential that asked.
        id: what a second person approves it by.
        kw: the most that it could displace.
    """

    author: str
    id: str
    kw: float


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a tick follows what somebody made of the plan.

    Attributes:
        behind: who.
        account: on whose account it counts.
        share: of the way from the targets without it to those with it.
        held_kw: by how much targets are diverted, rows added.
        moved_kw: by how much that changed in this tick.
        waits: whether nothing is followed before a second person approves.
    """

    behind: Behind
    account: str
    share: float
    held_kw: float
    moved_kw: float
    waits: bool


def account_of(behind: Behind, rules: Rules) -> str:
    """On whose account it counts: the credential's, or that of what a second person has approved."""
    given = rules.approval_of(behind.id, behind.author)
    return behind.author if given is None else given.account


def follow(
    course: Course,
    behind: Behind,
    rules: Rules,
    limits: GuardLimits,
    memory: Memory,
    fleet_kw: float,
    now_s: int,
) -> tuple[Followed, Memory]:
    """Follow what somebody made of the plan as far as their account has room; a pure function.

    What an account has moved within the window, and what it holds displaced now by orders and diverts by
    plans, are together at most its budget: so the way back is always free, and nothing more is followed than
    what could be given back within the same window. What could displace more than one person may is not
    followed at all before a second one approves; then it goes up to what was approved.

    Args:
        course: by how much targets are diverted.
        behind: who asked.
        rules: what people have set, without what has ended.
        limits: the engineered limits.
        memory: what is known from the ticks before.
        fleet_kw: size of the fleet.
        now_s: this moment.
    """
    given, account = rules.approval_of(behind.id, behind.author), account_of(behind, rules)
    waits = given is None and behind.kw > limits.approval_kw
    if given is None:
        most_kw, held_most_kw = limits.budget_of(account, fleet_kw), limits.approval_kw
    else:
        most_kw, held_most_kw = 2.0 * given.kw, given.kw
    before = memory.diverted.get(behind.id)
    if before is not None and before.account != account:
        nothing = np.zeros_like(before.by_kw)
        memory, before = memory.diverting(behind.id, before.account, nothing, now_s), None
    mine_kw = 0.0 if before is None else _sum_kw(before.by_kw)
    others_kw = float(memory.held_by([account])[0]) - mine_kw
    room_kw = most_kw - memory.spent_kw(account, now_s, limits.window_s) - others_kw

    def fits(by_kw: Kw) -> bool:
        held = _sum_kw(by_kw)
        moved = held if before is None else _sum_kw(by_kw - before.by_kw)
        return held + moved <= room_kw and others_kw + held <= held_most_kw

    share, by_kw = (0.0, _single(course(0.0))) if waits else _largest(course, fits)
    after = memory.diverting(behind.id, account, by_kw, now_s)
    moved_kw = after.spent_kw(account, now_s, 1) - memory.spent_kw(account, now_s, 1)
    return Followed(behind, account, share, _sum_kw(by_kw), moved_kw, waits), after


def _largest(course: Course, fits: Callable[[Kw], bool]) -> tuple[float, Kw]:
    """The largest share found that fits, and what it diverts; none of it always does."""
    best, most = 0, _PARTS
    found = _single(course(1.0))
    if fits(found):
        return 1.0, found
    found = _single(course(0.0))
    while most - best > 1:
        part = (best + most) // 2
        by_kw = _single(course(part / _PARTS))
        if fits(by_kw):
            best, found = part, by_kw
        else:
            most = part
    return best / _PARTS, found


def _single(kw: Kw) -> Kw:
    """As it is remembered: what is taken off an account later is what was put on it."""
    return np.asarray(kw, dtype=np.float32)


def _sum_kw(kw: Kw) -> float:
    return float(np.abs(kw).sum(dtype=np.float64))
