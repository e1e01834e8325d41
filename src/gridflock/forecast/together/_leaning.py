"""How far groups are believed against their members: by what either way has missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Kw

Floats = NDArray[np.float64]

_HALF_LIFE_DAYS = 30.0
_EVEN = 0.5
_EVEN_DAYS = 30.0
"""Days of evidence that halves are believed like: before any, neither way is known to be better."""
_ROWS = 1_000
"""Rows looked at in one go."""


def leaning(held_kw: Kw, moved_kw: Kw, truth_kw: Kw, groups: int, age_days: Floats) -> float:
    """Share of the way from forecasts with groups held to those moved by trace minimisation.

    Trace minimisation supposes forecasts without bias whose errors go on as they were. Where members miss a
    season's change together, their sum leads a good forecast of the group astray, and little in their
    correlations tells of it. What a mixture of both ways would have missed in past forecasts does: the share
    is the one of least squares of such errors, in units of what each series misses, groups and members
    counting alike as levels and days fading over a month, drawn to halves, which are hard to beat where
    evidence is scarce (Bates and Granger, Operational Research Quarterly 20, 1969). Both ways add up, and so
    does what lies between: ``held + share · (moved − held)``.

    Args:
        held_kw: (A + n, D, T) what D past forecasts said with groups held, groups first, each made from what
            was known at its moment.
        moved_kw: (A + n, D, T) the same by trace minimisation.
        truth_kw: (A + n, D, T) what came; NaN where unknown.
        groups: A.
        age_days: (D,) how old they are.

    Returns:
        A share in [0, 1]; a half where nothing is known.

    Raises:
        ValueError: shapes that do not belong together.
    """
    if not held_kw.shape == moved_kw.shape == truth_kw.shape or held_kw.shape[1:2] != np.shape(age_days):
        raise ValueError(f"{held_kw.shape}, {moved_kw.shape} and {truth_kw.shape} for {len(age_days)} days")
    fades = 0.5 ** (np.asarray(age_days, dtype=np.float64) / _HALF_LIFE_DAYS)
    rows, days = held_kw.shape[:2]
    along, length, heard = 0.0, 0.0, np.zeros(days, dtype=np.bool_)
    for first in range(0, rows, _ROWS):
        some = slice(first, first + _ROWS)
        level = np.where(np.arange(rows)[some] < groups, 1.0 / max(groups, 1), 1.0 / max(rows - groups, 1))
        found = _evidence(held_kw[some], moved_kw[some], truth_kw[some], level, fades)
        along, length, heard = along + found[0], length + found[1], heard | found[2]
    if length <= 0.0:
        return _EVEN
    prior = length * _EVEN_DAYS / float(fades[heard].sum())
    return float(np.clip((along + prior * _EVEN) / (length + prior), 0.0, 1.0))


def _evidence(
    held: Kw, moved: Kw, truth: Kw, level: Floats, fades: Floats
) -> tuple[float, float, NDArray[np.bool_]]:
    """How far errors lie along the way from one to the other, its square length, and the days heard."""
    apart, missed = np.asarray(moved, dtype=np.float64) - held, np.asarray(truth, dtype=np.float64) - held
    known = np.isfinite(apart) & np.isfinite(missed)
    apart, missed = np.where(known, apart, 0.0), np.where(known, missed, 0.0)
    count = known.sum(axis=2) @ fades
    size = (missed**2).sum(axis=2) @ fades
    # A row that misses nothing when held has no unit of its own and is not asked.
    worth = level * np.divide(count, size, out=np.zeros_like(size), where=size > 0)
    along = float(worth @ ((apart * missed).sum(axis=2) @ fades))
    return along, float(worth @ ((apart**2).sum(axis=2) @ fades)), np.asarray(known.any(axis=(0, 2)))
