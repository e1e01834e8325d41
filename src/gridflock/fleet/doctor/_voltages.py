"""Whose voltage moves with another phase, or another transformer, than the registered one.

Voltages at one phase of a feeder share what its wires do, and those behind one transformer what the
transformer does. So each resource's fluctuations are correlated with the means of its neighbours', and
the neighbourhood it fits best ought to be the registered one. After T. A. Short, "Advanced metering for phase
identification, transformer identification, and secondary modeling", IEEE Trans. Smart Grid 4(2), 2013; the
means leave out the resource itself and, in a second round, whoever was suspect in the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.doctor._evidence import Thresholds
from gridflock.units import Mask, Pu, Rows

FEWEST_MEMBERS = 3
"""A mean of fewer is nobody's neighbourhood."""
_ROUNDS = 2
_PHASES = 3
_LARGEST_R = 0.999999
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """How k series fit where they are registered, and where they fit best.

    Attributes:
        own_r: (k,) correlation with the registered neighbourhood; NaN where there is none.
        best: (k,) neighbourhood that fits best.
        best_r: (k,) its correlation.
        deviations: (k,) standard deviations between the two.
        elsewhere: (k,) whether there is another neighbourhood to compare with.
        own: (k,) registered neighbourhood.
    """

    own_r: _Array
    best: NDArray[np.intp]
    best_r: _Array
    deviations: _Array
    elsewhere: Mask
    own: NDArray[Any]

    @classmethod
    def of(cls, r: _Array, own: NDArray[Any], steps: int, candidates: int) -> _Fit:
        """Compare correlations (k, neighbourhoods).

        Fisher's z of a correlation over so many independent steps has the variance 1/(steps - 3); steps
        that follow each other are not quite independent, so the figure is one to compare by.
        The best of several candidates lies above their mean by chance alone, by about sqrt(2 ln candidates);
        that is taken off.
        """
        each = np.arange(len(own))
        best = np.argmax(np.where(np.isnan(r), -np.inf, r), axis=1)
        own_r, best_r = r[each, own], r[each, best]
        z = [np.arctanh(np.clip(one, -_LARGEST_R, _LARGEST_R)) for one in (own_r, best_r)]
        by_chance = np.sqrt(2.0 * np.log(candidates))
        deviations = (z[1] - z[0]) * np.sqrt(max(steps - 3, 1) / 2.0) - by_chance
        elsewhere = np.count_nonzero(~np.isnan(r), axis=1) > 1
        return cls(own_r, best, best_r, deviations, elsewhere, own)

    def suspect(self, limits: Thresholds) -> Mask:
        """Who fits clearly better elsewhere; nobody whose own neighbourhood is not known."""
        better = self.best_r - self.own_r >= limits.gain
        suspect: Mask = better & (self.best != self.own) & (self.deviations >= limits.confidence)
        return suspect


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """Who fits better elsewhere; s of m resources.

    Attributes:
        at: (s,) position among the m.
        best: (s,) phase 0, 1, 2, or number of the transformer, that fits best.
        own_r: (s,) correlation with the registered one.
        best_r: (s,) correlation with the best one.
        deviations: (s,) standard deviations between the two.
        judged: bool (m,) who could be judged at all.
    """

    at: Rows
    best: Rows
    own_r: _Array
    best_r: _Array
    deviations: _Array
    judged: Mask

    @classmethod
    def nobody(cls, m: int) -> Suspects:
        """Nobody was judged yet."""
        none, whole = np.empty(0), np.empty(0, dtype=np.int32)
        return cls(whole, whole, none, none, none, np.zeros(m, dtype=bool))

    def joined(
        self, members: NDArray[np.intp], fit: _Fit, limits: Thresholds, names: NDArray[Any]
    ) -> Suspects:
        """With those of one more part: positions of its members, and what its neighbourhoods are called."""
        k = np.flatnonzero(fit.suspect(limits))
        judged = self.judged.copy()
        judged[members] = fit.elsewhere & ~np.isnan(fit.own_r)
        return Suspects(
            np.append(self.at, members[k]).astype(np.int32),
            np.append(self.best, names[fit.best[k]]).astype(np.int32),
            np.append(self.own_r, fit.own_r[k]),
            np.append(self.best_r, fit.best_r[k]),
            np.append(self.deviations, fit.deviations[k]),
            judged,
        )


def fluctuations(v_pu: Pu, width: int) -> _Array:
    """Voltages about their moving means: what regulators, days and offsets of meters leave.

    Args:
        v_pu: (T, k), NaN where not heard.
        width: steps of the moving mean.

    Returns:
        float64 (T, k), 0 where not heard.
    """
    v = np.asarray(v_pu, dtype=np.float64)
    known = ~np.isnan(v)
    v = np.where(known, v, 0.0)
    steps = np.arange(len(v))
    first, last = np.maximum(steps - width // 2, 0), np.minimum(steps + width // 2 + 1, len(v))

    def moving(values: NDArray[Any]) -> _Array:
        sums = np.concatenate([np.zeros((1, v.shape[1])), np.cumsum(values, axis=0)])
        window: _Array = sums[last] - sums[first]
        return window

    v -= moving(v) / np.maximum(moving(known), 1.0)
    v[~known] = 0.0
    v -= np.where(known, v.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)
    return v


def heard_enough(v_pu: Pu, fewest: int) -> Mask:
    """Series with enough voltages that are not all the same, bool (m,)."""
    known = ~np.isnan(v_pu)
    top = np.where(known, v_pu, -np.inf).max(axis=0)
    moves: Mask = top > np.where(known, v_pu, np.inf).min(axis=0)
    moves &= known.sum(axis=0) >= fewest
    return moves


def other_phase(
    v_pu: Pu,
    width: int,
    phase: Rows,
    area: Rows,
    limits: Thresholds,
) -> Suspects:
    """Single-phase resources whose voltage goes with another phase of their area.

    Args:
        v_pu: (T, m), NaN where not heard.
        width: steps of the moving mean that is taken off.
        phase: (m,) registered phase 0, 1, 2; -1 = not to be judged.
        area: (m,) number of the area; -1 = unknown.
        limits: fewest readings, confidence and gain.
    """
    takes_part = heard_enough(v_pu, limits.fewest) & (phase >= 0) & (area >= 0)
    found = Suspects.nobody(len(phase))
    for members in _by(area, takes_part):
        x, own = fluctuations(v_pu[:, members], width), phase[members]
        trusted = np.ones(len(members), dtype=bool)
        for _ in range(_ROUNDS):
            fit = _Fit.of(_phase_correlations(x, own, trusted), own, len(x), 1)
            trusted = ~fit.suspect(limits)
        found = found.joined(members, fit, limits, np.arange(_PHASES))
    return found


def _phase_correlations(x: _Array, own: Rows, trusted: Mask) -> _Array:
    """Correlation of each series with the mean of each phase, what is common to all phases taken out.

    These are partial correlations, given the mean of the three phases: a resource near the head follows it
    less than one far out, so it is not subtracted but regressed out. With the means R_f, a resource i, and
    R_own without i, all are sums of R_a, R_b, R_c and x_i, so that inner products of these suffice.

    Args:
        x: (T, k) series.
        own: (k,) registered phase.
        trusted: (k,) who counts in the means.

    Returns:
        (k, 3), NaN where a phase has no mean, or fewer than two have one.
    """
    k = len(own)
    weight = (own[:, None] == np.arange(_PHASES)) & trusted[:, None]
    count = weight.sum(axis=0)
    means = x @ (weight / np.maximum(count, 1))
    gram = np.empty((k, _PHASES + 1, _PHASES + 1))
    gram[:, :_PHASES, :_PHASES] = means.T @ means
    gram[:, :_PHASES, _PHASES] = gram[:, _PHASES, :_PHASES] = x.T @ means
    gram[:, _PHASES, _PHASES] = np.einsum("tk,tk->k", x, x)
    # Row f of ``means_of`` says how R_f is made for each resource: its own phase without itself.
    means_of = np.broadcast_to(np.eye(_PHASES, _PHASES + 1), (k, _PHASES, _PHASES + 1)).copy()
    inside = np.flatnonzero(trusted)
    others = np.maximum(count[own[inside]] - 1, 1)
    means_of[inside, own[inside], own[inside]] = count[own[inside]] / others
    means_of[inside, own[inside], _PHASES] = -1.0 / others
    usable = np.broadcast_to(count, (k, _PHASES)).copy()
    usable[inside, own[inside]] -= 1
    there = usable >= FEWEST_MEMBERS - 1
    common = (means_of * there[:, :, None]).sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None]
    power = np.maximum(np.einsum("ki,kij,kj->k", common, gram, common), np.finfo(np.float64).tiny)
    share = np.einsum("kfi,kij,kj->kf", means_of, gram, common) / power[:, None]
    relative = means_of - share[:, :, None] * common[:, None, :]
    series = -(np.einsum("ki,ki->k", gram[:, _PHASES], common) / power)[:, None] * common
    series[:, _PHASES] += 1.0
    product = np.einsum("kfi,kij,kj->kf", relative, gram, series)
    length = np.einsum("kfi,kij,kfj->kf", relative, gram, relative)
    own_length = np.einsum("ki,kij,kj->k", series, gram, series)
    r: _Array = np.full((k, _PHASES), np.nan)
    size = np.sqrt(np.maximum(length * own_length[:, None], 0.0))
    valid = there & (there.sum(axis=1) > 1)[:, None] & (size > 0)
    np.divide(product, size, out=r, where=valid)
    return r


def other_transformer(
    v_pu: Pu,
    width: int,
    phase: Rows,
    area: Rows,
    transformer: Rows,
    limits: Thresholds,
) -> Suspects:
    """Single-phase resources whose voltage goes with another transformer of their area and phase.

    What is common to the phase of the area is taken out first.

    Args:
        v_pu: (T, m), NaN where not heard.
        width: steps of the moving mean that is taken off.
        phase: (m,) phase 0, 1, 2; -1 = not to be judged.
        area: (m,) number of the area; -1 = unknown.
        transformer: (m,) number of the transformer; -1 = unknown.
        limits: fewest readings, confidence and gain.
    """
    takes_part = heard_enough(v_pu, limits.fewest) & (phase >= 0) & (area >= 0) & (transformer >= 0)
    found = Suspects.nobody(len(phase))
    for members in _by(np.where(area >= 0, area * _PHASES + phase, -1), takes_part):
        numbers, own = np.unique(transformer[members], return_inverse=True)
        if len(numbers) < 2:
            continue
        x = fluctuations(v_pu[:, members], width)
        k = len(members)
        x -= (x.sum(axis=1, keepdims=True) - x) / max(k - 1, 1)
        trusted = np.ones(k, dtype=bool)
        for _ in range(_ROUNDS):
            r = _cell_correlations(x, own, len(numbers), trusted)
            fit = _Fit.of(r, own, len(x), len(numbers) - 1)
            trusted = ~fit.suspect(limits)
        found = found.joined(members, fit, limits, numbers)
    return found


def _cell_correlations(x: _Array, own: NDArray[Any], cells: int, trusted: Mask) -> _Array:
    """Correlation of each series with the mean of each cell, its own without itself.

    Args:
        x: (T, k) series.
        own: (k,) registered cell.
        cells: how many.
        trusted: (k,) who counts in the means.

    Returns:
        (k, cells), NaN where a cell has no mean.
    """
    weight = ((own[:, None] == np.arange(cells)) & trusted[:, None]).astype(np.float64)
    count = weight.sum(axis=0)
    sums = x @ weight
    product, squares = x.T @ sums, np.einsum("tc,tc->c", sums, sums)
    length = np.broadcast_to(squares, product.shape).copy()
    power = np.einsum("tk,tk->k", x, x)
    inside = np.flatnonzero(trusted)
    mine = own[inside]
    length[inside, mine] += power[inside] - 2.0 * product[inside, mine]
    product[inside, mine] -= power[inside]
    members = np.broadcast_to(count, product.shape).copy()
    members[inside, mine] -= 1
    size = np.sqrt(np.maximum(length * power[:, None], 0.0))
    r: _Array = np.full(product.shape, np.nan)
    np.divide(product, size, out=r, where=(members >= FEWEST_MEMBERS - 1) & (size > 0))
    return r


def _by(label: Rows, chosen: Mask) -> list[NDArray[np.intp]]:
    """Positions of the chosen ones, label by label."""
    at = np.flatnonzero(chosen)
    at = at[np.argsort(label[at], kind="stable")]
    return np.split(at, np.flatnonzero(np.diff(label[at])) + 1) if len(at) else []
