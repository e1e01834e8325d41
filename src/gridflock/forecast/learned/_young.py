"""Series that have just begun: forecast as their siblings were when little was known of them.

A model that learnt from series with weeks behind them has never seen one without. So it has a twin, which
learns from the same rows as if each series had begun a few hours or days before each moment of issue, none
included: what comes then at which hour, how large it is beside its siblings, and how wide its band has to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._view import SCALE_DAYS, Floats, View, heard_days, size_before, with_usual

FEWEST_SIBLINGS = 5
"""Series from which on a class knows what is usual in it."""
_FEW_DAYS = 14.0
"""A series of which fewer days are known of the last four weeks is forecast as one that has begun."""
_FEW_SHARE = 0.75
"""Where all series are young, those are that are known for less than this share of what is usual."""
_AGES_DAYS = (0.0, 0.0, 0.25, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0)
"""How much of each series is known in the rows that are learnt from: each as often."""
_ROWS = 4
"""A model learns from so many times the rows of its twin."""


def as_young(settings: Settings) -> Settings:
    """How a class learns what to expect of series that have just begun."""
    return replace(
        settings,
        blocks=(*settings.blocks, "heard"),
        members=("trees",),
        mode="three",
        anchor="",
        scale="young",
        most_rows=settings.most_rows // _ROWS,
        young=True,
    )


def begun(view: View, seed: int) -> View:
    """Rows to learn from: each series as if it had begun at a moment drawn for each issue."""
    rng = np.random.default_rng(seed)
    age = rng.choice(np.array(_AGES_DAYS), size=view.shape[:2])
    since = view.at - np.round(age * view.per_day).astype(np.int64)
    return replace(view, since=since, usual_kw=usual_size(view))


def few_days(view: View) -> float:
    """Days below which a series has just begun, beside the siblings of a view of one moment."""
    return float(min(_FEW_DAYS, _FEW_SHARE * np.median(heard_days(view))))


def heard(view: View, scale: Floats) -> Mapping[str, Floats]:
    """How many days are known of the last four weeks."""
    del scale
    return {"heard_days": heard_days(view)[:, :, None]}


def young_scale(view: View) -> Floats:
    """(S, I) size of each series: between what was heard of it and what is usual, by hours heard."""
    if view.usual_kw is None:
        raise ValueError("series that have just begun need what is usual in their class")
    return with_usual(view, size_before(view, SCALE_DAYS), view.usual_kw)


def usual_size(view: View) -> Floats:
    """(I,) the median of the series' sizes at each moment, kW; NaN where nothing is known."""
    size = size_before(view, SCALE_DAYS)
    known = np.where(size > 0, size, np.nan)
    told = np.flatnonzero(np.isfinite(known).any(axis=0))
    found = np.full(known.shape[1], np.nan)
    found[told] = np.nanmedian(known[:, told], axis=0)
    return found
