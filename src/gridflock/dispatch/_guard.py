"""The guard: the last look before the wire, independent of whoever planned.

It knows nameplates, signs and the largest step the feeder may be asked to make at once, and
nothing of goals or prices; whatever the planner asks for, this holds. Sandia's report on the
blast radius of remotely commanded DER (SAND2018-4532J) asks for such engineered limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.schema import Family
from gridflock.units import Kw, Mask, Rows

_SLACK_KW = 1e-3
_ROUNDING_KW = 1e-6
_REPEAT_KW = 0.05
_REPEAT_SHARE = 0.02
"""An order that differs by less from the one in force repeats it."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What may move in one step.

    Attributes:
        step_kw: largest change of the feeder's injection by orders of one tick, either way. A
            single resource that would have to move by more is never moved: choose it above the
            largest unit.
        share: largest share of the fleet that may get a *changed* order in one tick.
    """

    step_kw: float = 150.0
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What the guard let through.

    Attributes:
        keep: (k,) which of the candidate orders may go.
        implausible: how many were outside nameplate, not finite, or to what takes no orders.
        held_kw: injection change that was held back by the limits, kW (signed).
    """

    keep: Mask
    implausible: int
    held_kw: float


def guard(
    rows: Rows,
    p_kw: Kw,
    weight: NDArray[np.integer],
    image: Image,
    limits: GuardLimits,
    standing_kw: Kw | None = None,
) -> Passed:
    """Judge candidate orders.

    A changed order moves its resource from what it does now; one that repeats the order in force
    only by their difference, and goes before all others: holding it back would let the order run
    out, which is itself a change.

    Args:
        rows: (k,) resources.
        p_kw: (k,) ordered injection.
        weight: (k,) priority code of each order; the weightiest (lowest) pass first.
        image: the process image: nameplates and present power.
        limits: the engineered limits.
        standing_kw: (k,) order in force, NaN where none is; without it every order is a change.

    Returns:
        The orders that may go; their moves add up to at most ``step_kw``. An order that did not
        fit into what those before it left is passed over, and lighter ones may still fit. Orders
        against the direction of the overshoot all pass, unless they alone would be too large a step.
    """
    plausible = _plausible(rows, p_kw, image)
    present = np.nan_to_num(image.p_kw[rows].astype(np.float64))
    before = np.full(len(rows), np.nan) if standing_kw is None else standing_kw
    repeats = np.abs(p_kw - before) <= np.maximum(_REPEAT_KW, _REPEAT_SHARE * np.abs(before))
    move = np.where(plausible, p_kw - np.where(repeats, before, present), 0.0)
    order = np.lexsort((rows, weight, ~repeats))
    order = order[plausible[order]]
    many = int(repeats[order].sum()) + int(np.ceil(limits.share * image.n))
    keep = np.zeros(len(rows), dtype=bool)
    keep[_within(order[:many], move, limits.step_kw)] = True
    held = float(move.sum()) - float(move[keep].sum())
    return Passed(keep, int((~plausible).sum()), held)


def _plausible(rows: Rows, p_kw: Kw, image: Image) -> Mask:
    """Orders that their resource could follow by its nameplate."""
    low, high = image.columns["p_min_kw"][rows], image.columns["p_max_kw"][rows]
    family = image.family[rows]
    # The nameplate of a process is its flexible part; the whole demand is what it reports.
    demand = np.fmin(image.p_avail_kw[rows], image.p_kw[rows])
    low = np.where(family == Family.SHED, np.fmin(low, demand), low)
    inside = (p_kw <= high + _SLACK_KW) & (p_kw >= low - _SLACK_KW)
    plausible: Mask = inside & (family != Family.NONE)
    return plausible


def _within(order: NDArray[np.intp], move: Kw, step_kw: float) -> NDArray[np.intp]:
    """The positions of ``order`` whose moves stay within the step, those in front first."""
    total = float(move[order].sum())
    if abs(total) <= step_kw:
        return order
    size = np.copysign(1.0, total) * move[order]
    out, back = np.flatnonzero(size > 0), np.flatnonzero(size <= 0)
    while abs(float(size[out].sum() + size[back].sum())) > step_kw + _ROUNDING_KW:
        out = out[_first_fit(size[out], step_kw - float(size[back].sum()))]
        back = back[_first_fit(-size[back], step_kw + float(size[out].sum()))]
    kept: NDArray[np.intp] = order[np.concatenate([out, back])]
    return kept


def _first_fit(size: Kw, room: float) -> Mask:
    """Who gets in, one after the other, each only if it still fits; sizes >= 0."""
    fits = np.zeros(len(size), dtype=bool)
    left = np.flatnonzero(size <= room)
    while len(left):
        filled = np.cumsum(size[left])
        n = int(np.searchsorted(filled, room, side="right"))
        fits[left[:n]] = True
        room -= float(filled[n - 1])
        left = left[n + 1 :]
        left = left[size[left] <= room]
    return fits
