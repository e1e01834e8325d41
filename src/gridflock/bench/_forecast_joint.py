"""Forecasts that agree, on measured homes and a measured feeder: sums, shared bad luck, overload."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gridflock.bench._forecast import TIMES_SCORED
from gridflock.bench._forecast_new import homes_new
from gridflock.bench._forecast_sets import ForecastSet, data_folder, forecast_set
from gridflock.forecast import crps, inside
from gridflock.forecast.learned import SETTINGS, Trial, backtest
from gridflock.forecast.together import (
    Coherence,
    chance_beyond,
    expected,
    joint,
    leaning,
    shared_ranks,
)
from gridflock.model import Forecast, History
from gridflock.units import DAY_S, TimeGrid

Floats = NDArray[np.float64]
Progress = Callable[[float], None]

QUANTILES = np.round(np.arange(0.1, 0.95, 0.1), 1)
_BEFORE_S = 120 * DAY_S
"""Days of forecasts before the test span that errors and ranks are learnt from."""
_ERROR_DAYS = 45
"""Days whose errors say how forecasts are moved: as far back as the homes' weights and corrections look."""
_FIRST_DAYS = 14
"""Days of errors from which on forecasts are made coherent, and both ways of that compared."""
_PATHS = 1_000
_GROUPS = 3
_LIMIT_AT = 0.7
"""Quantile of the training span's daily maxima that the feeder's limit is set at."""
_BINS = np.linspace(0.0, 1.0, 6)


def homes_together(
    data: Path | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Seventeen homes, three groups and their total: reconciled forecasts, and the total from joint paths.

    Errors of the days before each moment of issue, and no later ones, say how forecasts are moved (the newest
    ones), how far their groups are believed against their members, and who errs with whom.

    Returns:
        ``total_mae_ratio`` and ``home_mae_ratio``: reconciled means, which add up, over base means, tails
        included; ``…_of_nine_…`` over the mean of the nine quantiles, which leaves them out;
        ``…_square_…`` by squares, which means are made for; ``…_median_…``: medians moved by as much, which
        do not add up; ``bottom_up_mae_ratio`` of adding the homes' means up; ``incoherence_kw`` of means
        before and after; ``leaning`` the mean share from groups held to trace minimisation;
        ``coverage80`` and ``crps_kw`` of the total from joint paths, and with homes that know nothing of each
        other.
    """
    task = forecast_set("home_day_ahead", data or data_folder())
    homes = len(task.history.series)
    sums = np.zeros((1 + _GROUPS, homes))
    sums[0] = 1.0
    for g, members in enumerate(np.array_split(np.arange(homes), _GROUPS)):
        sums[1 + g, members] = 1.0
    upper = replace(task, history=_added(task.history, sums))
    begun = time.process_time()
    low = _tried(task, "home", seed, _part(progress, 0.0))
    high = _tried(upper, "homes", seed, _part(progress, 0.5))
    spent = time.process_time() - begun
    value = np.concatenate([high.value_kw, low.value_kw]).astype(np.float64)
    truth = np.concatenate([high.truth_kw, low.truth_kw])
    return {
        "set": "homes_together",
        **_together(task, csr_array(sums), value, truth, low, seed),
        "cpu_s": round(spent, 1),
    }


def feeder_overload(
    data: Path | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """The chance that a feeder's import exceeds a limit within 24 h, said each noon, against what came.

    Returns:
        ``brier`` of the chance, that of always saying the share of days on which it happened and the
        ``skill`` against it, how often it happened, and per bin of chance how often it came true.
    """
    task = forecast_set("feeder_day_ahead", data or data_folder())
    begun = time.process_time()
    trial = _tried(task, "feeder", seed, progress)
    spent = time.process_time() - begun
    steps = DAY_S // task.step_s
    limit = _usual_limit(task)
    value = trial.value_kw[:, :, :steps].astype(np.float64)
    truth = trial.truth_kw[:, :, :steps]
    chance, came = [], []
    for k in np.flatnonzero(trial.issues_s >= task.test_start_s).tolist():
        whole = np.isfinite(truth[0, k]).all()
        past = _known_before(trial, k, task)
        if not whole or trial.issues_s[k] + DAY_S > task.test_end_s:
            continue
        grid = TimeGrid.uniform(int(trial.issues_s[k]), task.step_s, steps)
        today = Forecast(grid, task.history.series, QUANTILES, value[:, k].transpose(0, 2, 1), grid.start_s)
        ranks = _ranks(truth[:, past], value[:, past])
        path = joint(today, ranks, _PATHS, seed + k)
        chance.append(chance_beyond(-path, np.array([limit]), grid).chance[0])
        came.append(float((-truth[0, k]).max() > limit))
    said, happened = np.array(chance), np.array(came)
    base = happened.mean()
    brier, climate = float(((said - happened) ** 2).mean()), float(base * (1.0 - base))
    return {
        "set": "feeder_overload",
        "brier": round(brier, 4),
        "brier_of_the_base_rate": round(climate, 4),
        "skill": round(1.0 - brier / climate, 4) if climate > 0 else None,
        "base_rate": round(float(base), 4),
        "limit_kw": round(limit, 1),
        "days": len(said),
        "reliability": _reliability(said, happened),
        "weather": task.weather_kind,
        "seed": seed,
        "cpu_s": round(spent, 1),
    }


def _tried(task: ForecastSet, settings: str, seed: int, progress: Progress | None) -> Trial:
    """Rolling forecasts of the test span and of the days before it."""
    first = task.test_start_s - _BEFORE_S
    issues = task.issues(task.history.grid.start_s, task.test_end_s)
    return backtest(
        task.history, task.weather, task.site, issues, task.leads, SETTINGS[settings], first,
        seed=seed, progress=progress,
    )  # fmt: skip


def _part(progress: Progress | None, done: float) -> Progress:
    """One of two halves of a work, for who asked to be told."""

    def tell(share: float) -> None:
        if progress is not None:
            progress(done + 0.5 * share)

    return tell


def _added(history: History, sums: Floats) -> History:
    names = ("all", *(f"group {g + 1}" for g in range(len(sums) - 1)))
    return History(history.grid, names, sums @ history.value_kw)


def _known_before(trial: Trial, k: int, task: ForecastSet) -> NDArray[np.int64]:
    """Earlier forecasts whose whole truth is known at the k-th moment of issue."""
    end = trial.issues_s + (int(task.leads[-1]) + 1) * task.step_s
    whole = np.isfinite(trial.truth_kw).all(axis=(0, 2)) & np.isfinite(trial.value_kw).all(axis=(0, 2, 3))
    return np.flatnonzero((end <= trial.issues_s[k]) & whole)


def _ranks(truth: Floats, value: Floats) -> Floats:
    """Shared ranks (I, S, L) of forecasts (S, I, L, 9)."""
    return shared_ranks(truth.transpose(1, 0, 2), QUANTILES, value.transpose(1, 0, 3, 2))


def _usual_limit(task: ForecastSet) -> float:
    starts = task.history.grid.starts_s
    import_kw = -task.history.value_kw[0, starts < task.train_end_s]
    per = DAY_S // task.step_s
    daily = import_kw[: len(import_kw) // per * per].reshape(-1, per)
    return float(np.quantile(daily[np.isfinite(daily).all(axis=1)].max(axis=1), _LIMIT_AT))


def _reliability(said: Floats, happened: Floats) -> list[dict[str, float]]:
    """How often it came true, by what was said."""
    of = np.clip(np.digitize(said, _BINS) - 1, 0, len(_BINS) - 2)
    return [
        {
            "from": round(float(_BINS[b]), 2),
            "to": round(float(_BINS[b + 1]), 2),
            "days": int((of == b).sum()),
            "said": round(float(said[of == b].mean()), 3),
            "came": round(float(happened[of == b].mean()), 3),
        }
        for b in range(len(_BINS) - 1)
        if (of == b).any()
    ]


def _together(
    task: ForecastSet, sums: csr_array, value: Floats, truth: Floats, trial: Trial, seed: int
) -> dict[str, Any]:
    groups, middle, mean = sums.shape[0], value[..., 4], _means(value)
    scored = np.flatnonzero(trial.issues_s >= task.test_start_s)
    moved, shift, shared, alone, share = _reconciled(task, sums, value, truth, trial, seed)
    known = np.isfinite(truth[:, scored]).all(axis=0)
    known &= trial.issues_s[scored, None] + (task.leads + 1) * task.step_s <= task.test_end_s
    came, total = truth[:, scored], truth[0, scored][known]
    added_kw = np.abs(mean[groups:].sum(axis=0) - truth[0])[scored][known].mean()
    base = mean[:, scored]
    nine = value.mean(axis=-1)[:, scored]
    marks = {
        "mae": (np.abs(moved - came), np.abs(base - came)),
        "mae_of_nine": (np.abs(moved - came), np.abs(nine - came)),
        "square": ((moved - came) ** 2, (base - came) ** 2),
        "median_mae": (np.abs(middle[:, scored] + shift - came), np.abs(middle[:, scored] - came)),
    }
    return {
        **{
            f"{who}_{name}_ratio": round(
                float(after[rows][:, known].mean() / before[rows][:, known].mean()), 4
            )
            for name, (after, before) in marks.items()
            for who, rows in (("total", slice(1)), ("home", slice(groups, None)))
        },
        "bottom_up_mae_ratio": round(float(added_kw / np.abs(base - came)[0][known].mean()), 4),
        "incoherence_base_kw": round(_gap(sums, mean[:, scored]), 3),
        "leaning": round(share, 3),
        "incoherence_kw": float(f"{_gap(sums, moved):.1g}"),
        "coverage80": round(float(inside(total, shared[known]).mean()), 4),
        "crps_kw": round(float(crps(total, shared[known]).mean()), 4),
        "coverage80_alone": round(float(inside(total, alone[known]).mean()), 4),
        "crps_kw_alone": round(float(crps(total, alone[known]).mean()), 4),
        "weather": task.weather_kind,
        "days": len(scored),
        "seed": seed,
    }


def _reconciled(
    task: ForecastSet, sums: csr_array, value: Floats, truth: Floats, trial: Trial, seed: int
) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Means (N, I, L) that add up, how far they moved; quantiles (I, L, 9) of the total, shared or not.

    And the mean share by which forecasts lean from their groups to their members.
    """
    groups, mean = sums.shape[0], _means(value)
    held, free = _both_ways(task, sums, value, truth, trial)
    moved, shifts, together, apart, shares = [], [], [], [], []
    for k in np.flatnonzero(trial.issues_s >= task.test_start_s).tolist():
        past = _known_before(trial, k, task)
        tried = past[np.isfinite(held[:, past]).all(axis=(0, 2))]
        age_days = (trial.issues_s[k] - trial.issues_s[tried]) / DAY_S
        share = leaning(held[:, tried], free[:, tried], truth[:, tried], groups, age_days)
        found = held[:, k] + share * (free[:, k] - held[:, k])
        shift = found - mean[:, k]
        moved.append(found)
        shifts.append(shift)
        shares.append(share)
        homes = value[groups:, k] + shift[groups:, :, None]
        grid = TimeGrid.uniform(int(trial.issues_s[k]), task.step_s, len(task.leads))
        today = Forecast(grid, task.history.series, QUANTILES, homes.transpose(0, 2, 1), grid.start_s)
        ranks = _ranks(truth[groups:, past], value[groups:, past])
        together.append(_total(today, ranks, seed + k))
        rng = np.random.default_rng(seed + k)
        own = np.stack([rng.permutation(column) for column in ranks.transpose(1, 0, 2)], axis=1)
        apart.append(_total(today, own, seed + k))
    several = np.stack(moved, axis=1), np.stack(shifts, axis=1), np.stack(together), np.stack(apart)
    return *several, float(np.mean(shares))


def _both_ways(
    task: ForecastSet, sums: csr_array, value: Floats, truth: Floats, trial: Trial
) -> tuple[Floats, Floats]:
    """Means (N, I, L) that add up, groups held and not, each by errors known when it was made."""
    mean = _means(value)
    held, free = np.full((2, *mean.shape), np.nan)
    for k in range(len(trial.issues_s)):
        newest = _known_before(trial, k, task)[-_ERROR_DAYS:]
        if len(newest) < _FIRST_DAYS or not np.isfinite(mean[:, k]).all():
            continue
        error = (truth[:, newest] - mean[:, newest]).reshape(len(value), -1)
        spread = value[:, k, :, -1] - value[:, k, :, 0]
        coherence = Coherence(sums, error, len(task.leads))
        held[:, k] = coherence.made_coherent(mean[:, k], spread, held=True)
        free[:, k] = coherence.made_coherent(mean[:, k], spread)
    return held, free


def _means(value: Floats) -> Floats:
    """Means (N, I, L) of forecasts (N, I, L, 9)."""
    flat = value.reshape(len(value), -1, value.shape[-1]).transpose(0, 2, 1)
    return np.asarray(expected(QUANTILES, flat).reshape(value.shape[:-1]), dtype=np.float64)


def _gap(sums: csr_array, found: Floats) -> float:
    """Largest difference between a group's forecast and the sum of its members', kW."""
    flat = found.reshape(len(found), -1)
    return float(np.abs(sums @ flat[sums.shape[0] :] - flat[: sums.shape[0]]).max())


def _total(today: Forecast, ranks: Floats, seed: int) -> Floats:
    """Quantiles (L, 9) of the sum of joint paths."""
    path = joint(today, ranks, _PATHS, seed).sum(axis=1)
    return np.asarray(np.quantile(path, QUANTILES, axis=0).T, dtype=np.float64)


_JOINT = {
    "homes_together": homes_together,
    "feeder_overload": feeder_overload,
    "homes_new": homes_new,
}
FORECAST_JOINT = tuple(_JOINT)
"""What is asked of forecasts beside the protocol's sets: together, and of series that have just begun."""


def forecast_joint(
    name: str, data: Path | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Score one of ``FORECAST_JOINT``, as ``forecast_protocol`` does a set.

    Raises:
        KeyError: no such name.
        FileNotFoundError: its files are not in the folder.
    """
    return {**_JOINT[name](data, seed, progress), "test_scored": TIMES_SCORED.get(name, 0)}
