"""What the network holds: targets moved by feedback, as wishes of the weight of an envelope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._response import Response
from gridflock.dispatch.feedback import (
    Able,
    Correction,
    Feedback,
    Mode,
    Powers,
    Sight,
    Standing,
    Tuning,
    correct,
    said,
)
from gridflock.fleet import Image, reactive_room
from gridflock.model import BoundSource, Capability, Priority, Proposal
from gridflock.schema import Family
from gridflock.units import NEVER_S, Kvar, Kw, Mask

_READY = {Family.STORAGE: 1.0, Family.VEHICLE: 1.0, Family.THERMAL: 0.5, Family.GENERATOR: 0.3}
_LEAST_READY = 0.2
"""How readily a kW of a family moves beside a kW of storage; paused processes and lost sun least."""
_LEAST_KW = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Rows that feedback has moved, n rows.

    Attributes:
        p_kw: (n,) where each is held; NaN where it is free.
        q_kvar: (n,) its reactive power; NaN where feedback asks for none.
        by: int16 (n,) position in ``wishes`` of what holds it; -1 where it is free.
        lost_kw: (n,) by how much less than was wanted of it; 0 where it is free.
        left: (n,) rows left to their own policies, because what is measured cannot be trusted: nothing
            is ordered of them, and orders in force run out.
        alarm: one sentence in the tick in which that changes, else empty.
        wishes: what holds them, one for each limit.
        state: what feedback knows for the next tick.
    """

    p_kw: Kw
    q_kvar: Kvar
    by: NDArray[np.int16]
    lost_kw: Kw
    left: Mask
    alarm: str
    wishes: tuple[Proposal, ...]
    state: Feedback


def hold(
    state: Feedback | None,
    sight: Sight,
    wanted: Powers,
    image: Image,
    can: Capability,
    response: Response,
    tuning: Tuning,
    group: str,
    until_s: int,
) -> Held:
    """Correct targets by what is measured on the network.

    Sun and wind that nobody asked are wanted to give all there is, other smooth devices what they do;
    on/off devices stay with what was asked of them.

    Args:
        state: what the last tick left; None before the first.
        sight: measured quantities and their limits.
        wanted: (n,) targets of arbitration; NaN where nobody asked.
        image: the process image.
        can: what rows can do, as narrowed by who answers.
        response: who has been asked what.
        tuning: how feedback acts.
        group: group that the holding wishes are said of.
        until_s: end of the holding wishes.
    """
    before = state if state is not None and len(state.by_kw) == image.n else Feedback.none(image.n)
    present = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
    asked = np.isfinite(wanted.p_kw)
    offered = np.where(image.family == Family.RENEWABLE, can.p_hi_kw, present)
    smooth = (image.columns["on_off"] == 0) & (image.family != Family.NONE)
    aim = np.where(asked, wanted.p_kw, np.where(smooth, np.clip(offered, can.p_lo_kw, can.p_hi_kw), np.nan))
    able = _able(image, can, response, aim, smooth)
    standing, aims = _standing(image, response), Powers(aim, wanted.q_kvar)
    found = correct(before, sight, aims, standing, able, image.now_s, tuning)
    return _held(found, sight, aim, asked, group, image.now_s, until_s)


def _held(
    found: Correction, sight: Sight, aim: Kw, asked: Mask, group: str, now_s: int, until_s: int
) -> Held:
    n = len(aim)
    p_kw, q_kvar, lost = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    by = np.full(n, -1, dtype=np.int16)
    left = np.full(n, found.mode is Mode.LOCAL) & (sight.effects.column >= 0)
    if left.any():
        return Held(p_kw, q_kvar, by, lost, left, found.alarm, (), found.state)
    rows = found.held
    q_kvar[rows] = found.q_kvar[rows]
    moved = rows[np.abs(found.p_kw[rows] - aim[rows]) > _LEAST_KW]
    limits, place = np.unique(found.by[np.isin(rows, moved)], return_inverse=True)
    p_kw[moved], by[moved] = found.p_kw[moved], place
    lost[moved] = np.where(asked[moved], aim[moved] - found.p_kw[moved], 0.0)
    wishes = tuple(
        Proposal(
            id=f"network:{sight.names[row]}" if row >= 0 else "network:released",
            group=group,
            priority=Priority.ENVELOPE,
            author="feedback",
            why=said(sight, row) if row >= 0 else "given back step by step",
            start_s=now_s,
            until_s=until_s,
        )
        for row in limits.tolist()
    )
    return Held(p_kw, q_kvar, by, lost, left, found.alarm, wishes, found.state)


def _able(image: Image, can: Capability, response: Response, aim: Kw, smooth: Mask) -> Able:
    """What feedback may do with each row: nothing with on/off devices, nor below a smallest level."""
    floor = image.columns["p_floor_kw"]
    low = np.where(aim >= floor, np.maximum(can.p_lo_kw, floor), can.p_lo_kw)
    high = np.where(aim <= -floor, np.minimum(can.p_hi_kw, -floor), can.p_hi_kw)
    fixed = ~smooth | ((np.abs(aim) < floor) & (floor > 0.0)) | (low > high)
    at = np.nan_to_num(aim)
    ready = np.full(len(Family), _LEAST_READY)
    ready[list(_READY)] = list(_READY.values())
    size = image.columns["p_max_kw"] - image.columns["p_min_kw"].astype(np.float64)
    rating = image.columns["s_max_kva"].astype(np.float64)
    return Able(
        p_lo_kw=np.where(fixed, at, np.where(floor > 0.0, low, can.p_lo_kw)),
        p_hi_kw=np.where(fixed, at, np.where(floor > 0.0, high, can.p_hi_kw)),
        q_most_kvar=np.asarray(reactive_room(image), dtype=np.float64),
        s_kva=np.where(rating > 0.0, rating, np.inf),
        answers=response.willing(image.now_s) & (can.hi_source != BoundSource.NOT_READY),
        ease=np.maximum(size, _LEAST_KW) * ready[image.family],
    )


def _standing(image: Image, response: Response) -> Standing:
    """What each is known to do: orders that were acknowledged, else what was read."""
    known = response.answered & np.isfinite(response.ordered_kw) & (response.short_until_s <= image.now_s)
    present = np.asarray(image.p_kw, dtype=np.float64)
    p_kw = np.where(known, response.ordered_kw, present)
    q_known = response.answered & np.isfinite(response.ordered_kvar)
    q_kvar = np.where(q_known, response.ordered_kvar, np.asarray(image.q_kvar, dtype=np.float64))
    since_s = np.where(known, response.asked_s, image.heard_s).astype(np.float64)
    return Standing(
        p_kw, q_kvar, np.where(since_s == NEVER_S, image.now_s, since_s), by_order=(known, q_known)
    )
