"""What was asked, what was accepted, what is delivered: the wishes in force and the orders of late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from gridflock.dispatch import Decision, Grant
from gridflock.model import OutcomeStatus, Priority
from gridflock.runtime._loop import Moment
from gridflock.runtime._system import System
from gridflock.runtime._views import AnswersView, DeliveryView, WishView, number
from gridflock.units import iso

LATELY_S = 900
"""Orders and answers are counted so far back."""
PLAN = "plan"
_POWERS = ("asked_kw", "given_kw", "accepted_kw", "delivered_kw")
_COUNTS = ("members", "answered")
_STATUS = tuple(status.name.lower() for status in OutcomeStatus)


@dataclass(frozen=True, slots=True)
class Counted:
    """Orders that went out in a tick, and answers heard in it by status."""

    now_s: int
    sent: int
    answers: tuple[int, ...]


def counted(moment: Moment) -> Counted:
    """The numbers of one tick."""
    heard = np.bincount(moment.outcomes.status, minlength=len(_STATUS))
    sent = 0 if moment.decision is None or moment.halted else len(moment.decision.orders.index)
    return Counted(moment.now_s, sent, tuple(heard.tolist()))


def forget(lately: deque[Counted], now_s: int) -> None:
    """Drop what is longer ago than is counted."""
    while lately and lately[0].now_s <= now_s - LATELY_S:
        lately.popleft()


def delivery(system: System, moment: Moment, ticks: list[Counted]) -> DeliveryView:
    """The wishes of the last tick, the weightiest first and the plan's as one; orders of these ticks."""
    heard = np.array([tick.answers for tick in ticks], dtype=np.int64).reshape(-1, len(_STATUS)).sum(axis=0)
    decision = moment.decision
    held = np.zeros(0, dtype=bool) if decision is None else np.isfinite(decision.response.ordered_kw)
    awaited = 0 if decision is None else int((held & ~decision.response.answered).sum())
    answers = AnswersView(
        since=iso(ticks[0].now_s if ticks else moment.now_s),
        sent=sum(tick.sent for tick in ticks),
        in_force=int(held.sum()),
        awaited=awaited,
        **dict(zip(_STATUS, heard.tolist(), strict=True)),
    )
    wishes = [] if decision is None else _wishes(system, moment, decision)
    return DeliveryView(iso(moment.now_s), answers, wishes)


def _wishes(system: System, moment: Moment, decision: Decision) -> list[WishView]:
    """Each person's or market's wish, and what the plan wants of all its groups together."""
    targets, response = decision.targets, decision.response
    present = np.nan_to_num(moment.image.p_kw.astype(np.float64))
    said = np.isfinite(response.ordered_kw) & response.answered
    follows = np.where(said, np.nan_to_num(response.ordered_kw), present)
    views, planned = [], dict.fromkeys((*_POWERS, *_COUNTS), 0.0)
    for k, grant in enumerate(targets.grants):
        wish = grant.proposal
        if wish.priority is Priority.ENVELOPE or wish.group not in system.rows_of:
            continue
        rows = system.rows_of[wish.group]
        mine = rows[targets.source[rows] == k]
        sums = grant.asked_kw, grant.given_kw, float(follows[rows].sum()), float(present[rows].sum())
        counts = len(mine), int(said[mine].sum())
        if wish.priority is not Priority.SCHEDULE:
            views.append(_view(grant, sums, counts))
        elif wish.p_kw is not None:
            for name, value in zip((*_POWERS, *_COUNTS), (*sums, *counts), strict=True):
                planned[name] += value
    return [*views, *([_of_plan(planned, moment)] if planned["members"] else [])]


def _view(grant: Grant, sums: tuple[float, ...], counts: tuple[int, int]) -> WishView:
    wish = grant.proposal
    asked, given, accepted, delivered = (number(value, 3) for value in sums)
    return WishView(
        id=wish.id,
        group=wish.group,
        priority=wish.priority.name.lower(),
        author=wish.author,
        why=wish.why,
        until=iso(wish.until_s),
        causes={cause: round(kw, 3) for cause, kw in grant.causes.items()},
        asked_kw=asked,
        given_kw=given,
        accepted_kw=accepted,
        delivered_kw=delivered,
        members=counts[0],
        answered=counts[1],
    )


def _of_plan(planned: dict[str, float], moment: Moment) -> WishView:
    """All groups that the plan moves as one line."""
    schedule = moment.schedule
    k = -1 if schedule is None else schedule.grid.step_at(moment.now_s)
    until = "" if schedule is None or k < 0 else iso(int(schedule.grid.edges_s[k + 1]))
    asked, given, accepted, delivered = (number(planned[name], 3) for name in _POWERS)
    return WishView(
        id=PLAN, group=PLAN, priority=Priority.SCHEDULE.name.lower(), author=PLAN, why="", until=until,
        asked_kw=asked, given_kw=given, accepted_kw=accepted, delivered_kw=delivered,
        members=int(planned["members"]), answered=int(planned["answered"]), causes={},
    )  # fmt: skip
