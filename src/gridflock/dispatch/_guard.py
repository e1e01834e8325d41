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
from gridflock.units import Kw, Mask, Rows

_SLACK_KW = 1e-3


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What may move in one step.

    Attributes:
        step_kw: largest change of the feeder's injection by orders of one tick, either way.
        share: largest share of the fleet that may get a *changed* order in one tick.
    """

    step_kw: float = 1_500.0
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What the guard let through.

    Attributes:
        keep: (k,) which of the candidate orders may go.
        implausible: how many were outside nameplate or not finite.
        held_kw: injection change that was held back by the step limit, kW (signed).
    """

    keep: Mask
    implausible: int
    held_kw: float


def guard(rows: Rows, p_kw: Kw, weight: NDArray[np.integer], image: Image, limits: GuardLimits) -> Passed:
    """Judge candidate orders.

    Args:
        rows: (k,) resources.
        p_kw: (k,) ordered injection.
        weight: (k,) priority code of each order; the weightiest (lowest) pass first.
        image: the process image: nameplates and present power.
        limits: the engineered limits.

    Returns:
        The orders that may go. Orders against the direction of the overshoot always may.
    """
    columns = image.columns
    plausible = (
        np.isfinite(p_kw)
        & (p_kw <= columns["p_max_kw"][rows] + _SLACK_KW)
        & (p_kw >= columns["p_min_kw"][rows] - _SLACK_KW)
    )
    move = np.where(plausible, p_kw - np.nan_to_num(image.p_kw[rows]), 0.0)
    total = float(move.sum())
    keep = plausible.copy()
    if abs(total) > limits.step_kw:
        outward = plausible & (np.sign(move) == np.sign(total))
        order = np.lexsort((rows, weight))
        order = order[outward[order]]
        inward = total - float(move[outward].sum())
        running = np.abs(inward + np.cumsum(move[order]))
        keep[order[running > limits.step_kw]] = False
    allowed = int(np.ceil(limits.share * len(image.ids)))
    if int(keep.sum()) > allowed:
        order = np.lexsort((rows, weight))
        order = order[keep[order]]
        keep[order[allowed:]] = False
    held = total - float(move[keep].sum())
    return Passed(keep, int((~plausible).sum()), held)
