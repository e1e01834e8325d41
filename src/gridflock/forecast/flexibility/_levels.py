"""By how much one store, charger or process can change its power for a while, and what that takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.flexible import FlexibilitySet

Floats = NDArray[np.float64]
_HALVINGS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Changes of power that m members can make from the start of a horizon on, one way.

    Attributes:
        change_kw: (m, R, H) for each of R runs and each of H steps, >= 0; 0 beyond the run.
        moved_kwh: (m, R) energy that leaves (up) or enters (down) the member's own store by it.
        back_kw: (m, H) by how much it can change its power the other way.
    """

    change_kw: Floats
    moved_kwh: Floats
    back_kw: Floats


def changes(able: FlexibilitySet, base_kw: Floats, runs: NDArray[np.int64], *, up: bool) -> Changes:
    """What each chain of a set can do beside its base, run by run.

    A member gives what its power allows at each step up to one level, the highest that its energy keeps up
    through the run and that leaves the horizon's end within reach. Where its power allows the same at all
    steps that is the largest constant change there is. Longer runs never give more at any step.

    Args:
        able: over H steps.
        base_kw: (m, H) what each chain does unasked; where that is beyond a bound, the bound.
        runs: (R,) numbers of steps, ascending.
        up: more injection or less draw; False: the other way.
    """
    chains = able.members.chains
    keep = np.exp(-chains.loss_per_h[:, None] * chains.hours)
    base = np.clip(base_kw, chains.p_lo_kw, chains.p_hi_kw)
    above, below = np.maximum(chains.p_hi_kw - base, 0.0), np.maximum(base - chains.p_lo_kw, 0.0)
    rest = _contents(chains.e_lo_kwh[:, 0], keep, chains.gain_h * base)
    slack = rest - chains.e_lo_kwh if up else chains.e_hi_kwh - rest
    room, back = (above, below) if up else (below, above)
    level = _levels(room, chains.gain_h, keep, np.maximum(slack, 0.0), runs)
    steps = np.arange(room.shape[1])
    change = np.minimum(room[:, None, :], level[:, :, None]) * (steps < runs[:, None])
    moved = np.einsum("mrh,mh->mr", change, chains.gain_h)
    return Changes(change, moved, back)


def _contents(now: Floats, keep: Floats, leaving: Floats) -> Floats:
    """(m, H+1) stored energy along what leaves at each step."""
    found = np.empty((len(keep), keep.shape[1] + 1))
    found[:, 0] = now
    for t in range(keep.shape[1]):
        found[:, t + 1] = keep[:, t] * found[:, t] - leaving[:, t]
    return found


def _levels(room: Floats, gain: Floats, keep: Floats, slack: Floats, runs: NDArray[np.int64]) -> Floats:
    """(m, R) highest level kept up through each run, never rising with the run."""
    found = np.empty((len(room), len(runs)))
    before = np.full(len(room), np.inf)
    for r, steps in enumerate(runs.tolist()):
        part = (room[:, :steps], gain[:, :steps], keep[:, :steps], slack[:, 1 : steps + 1])
        top = np.minimum(room[:, :steps].max(axis=1, initial=0.0), before)
        level = np.where(_kept_up(top, *part), top, 0.0)
        short = np.flatnonzero(level < top)
        level[short] = _halved(top[short], tuple(column[short] for column in part))
        found[:, r] = before = level
    return found


def _halved(top: Floats, part: tuple[Floats, ...]) -> Floats:
    """The highest level below one that is too high, by halving."""
    low, high = np.zeros(len(top)), top.copy()
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        fits = _kept_up(middle, *part)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def _kept_up(level: Floats, room: Floats, gain: Floats, keep: Floats, slack: Floats) -> NDArray[np.bool_]:
    """(m,) whether a level leaves every content within what is spare."""
    used, fits = np.zeros(len(level)), np.ones(len(level), dtype=bool)
    for t in range(room.shape[1]):
        used = keep[:, t] * used + gain[:, t] * np.minimum(room[:, t], level)
        fits &= used <= slack[:, t] + 1e-9
    return fits
