"""Homes that have just begun: forecast by a model of their siblings, against habits and a long past."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.bench._forecast_sets import ForecastSet, data_folder, forecast_set
from gridflock.forecast import crps, forecast, inside
from gridflock.forecast.learned import SETTINGS, Trained, train
from gridflock.model import History
from gridflock.units import DAY_S, HOUR_S, TimeGrid

Floats = NDArray[np.float64]
Progress = Callable[[float], None]
_FOLDS = 4
_TRIED_DAYS = 60
"""Last days of the training span: what is learnt ends where they begin."""
_EVERY = 3
_DAYS = (0, 1, 7)
_WHOLE = 365


def homes_new(data: Path | None = None, seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """Each of seventeen homes in turn unknown to the model, and heard for 0, 1 and 7 days only.

    The training span alone: the model learns from the other homes up to sixty days before its end, and is
    asked each third day from then on.

    Returns:
        by days of history (and of all of it) the CRPS in kW of the class's model, of habits, and the model's
        as a ratio to its own with all history; the share of truths inside the model's 80 % band.
    """
    task = forecast_set("home_day_ahead", data or data_folder())
    homes = np.arange(len(task.history.series))
    before_s = task.train_end_s - _TRIED_DAYS * DAY_S
    begun = time.process_time()
    marks: dict[int, list[Floats]] = {days: [] for days in (*_DAYS, _WHOLE)}
    for fold in range(_FOLDS):
        known = _some(task.history, homes[homes % _FOLDS != fold], task.train_end_s)
        new = _some(task.history, homes[homes % _FOLDS == fold], task.train_end_s)
        issues = task.issues(task.history.grid.start_s, task.train_end_s)
        model = train(known, None, task.site, issues, task.leads, SETTINGS["home"], before_s, seed=seed)
        for days, found in marks.items():
            found += list(_marked(task, model, new, issues[issues >= before_s][::_EVERY], days))
        if progress is not None:
            progress((fold + 1) / _FOLDS)
    mean = {days: np.concatenate(found, axis=1).mean(axis=1) for days, found in marks.items()}
    return {
        "set": "homes_new",
        "history_days": {
            str(days) if days != _WHOLE else "all": {
                "crps_kw": round(float(ours), 4),
                "crps_kw_habits": round(float(habits), 4),
                "crps_ratio_habits": round(float(ours / habits), 4),
                "crps_ratio_all_history": round(float(ours / mean[_WHOLE][0]), 4),
                "coverage80": round(float(held), 4),
            }
            for days, (ours, habits, held) in mean.items()
        },
        "weather": task.weather_kind,
        "series": len(homes),
        "seed": seed,
        "cpu_s": round(time.process_time() - begun, 1),
    }


def _some(history: History, rows: NDArray[np.int64], end_s: int) -> History:
    """Some series up to a moment."""
    n = int((end_s - history.grid.start_s) // HOUR_S)
    grid = TimeGrid.uniform(history.grid.start_s, HOUR_S, n)
    return History(grid, tuple(history.series[k] for k in rows), history.value_kw[rows, :n])


def _marked(
    task: ForecastSet, model: Trained, new: History, issues_s: NDArray[np.int64], days: int
) -> Iterator[Floats]:
    """CRPS of the model and of habits and whether truths lay inside (3, cells), moment by moment."""
    steps = len(task.leads)
    for issue_s in issues_s.tolist():
        at = int((issue_s - new.grid.start_s) // HOUR_S)
        truth = np.array(new.value_kw[:, at : at + steps], dtype=np.float64)
        if truth.shape[1] < steps:
            continue
        value = np.full_like(new.value_kw, np.nan)
        value[:, max(0, at - 24 * days) : at] = new.value_kw[:, max(0, at - 24 * days) : at]
        heard = History(new.grid, new.series, value)
        ours = model.forecast(heard, None, task.site, issue_s)
        habits = forecast(heard, ours.grid, task.site, (), issue_s)
        said, usual = (np.array(f.value_kw, dtype=np.float64).transpose(0, 2, 1) for f in (ours, habits))
        marks = np.stack([crps(truth, said), crps(truth, usual), inside(truth, said).astype(np.float64)])
        yield marks[:, np.isfinite(truth)]
