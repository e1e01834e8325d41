"""The forecast protocol: learned forecasts and their baseline over the same test spans, rolling origin."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.bench._forecast_rivals import against_openstef
from gridflock.bench._forecast_sets import SETS, ForecastSet, data_folder, forecast_set
from gridflock.forecast import crps, inside, naive
from gridflock.forecast._sun import clear_sky
from gridflock.forecast.learned import SETTINGS, Trial, backtest

Floats = NDArray[np.float64]
Progress = Callable[[float], None]
FORECAST_SETS = tuple(SETS)
"""Names of the protocol's sets, in order."""
TIMES_SCORED: Mapping[str, int] = {
    "feeder_day_ahead": 3,
    "feeder_hour_ahead": 3,
    "homes17_day_ahead": 3,
    "home_day_ahead": 3,
    "pv_day_ahead": 4,
    "pv_day_ahead_no_weather": 4,
    "ev_day_ahead": 3,
    "heat_pump_day_ahead": 4,
    "substations_36h": 4,
    "substations_1h": 4,
    "wind_day_ahead": 3,
    "wind_day_ahead_no_weather": 3,
    "hourly_price_day_ahead": 2,
    "auction_price": 2,
    "homes_together": 5,
    "feeder_overload": 3,
}
"""How often each test span was scored with learned forecasts, in all: of the sets for which forecasting was
built once when settings were final, and after that by later code, settings unchanged.

Of heat pumps one setting, how far back widths are learnt, was changed after the first scoring; solar was
run twice with the same settings, substations once more against OpenSTEF's scores recorded anew. Of wind the
width of its bands was chosen anew after the first scoring, on eight months of Ontario's wind. Of homes
together means, and how correlations are believed, were changed by what the training span says after the
second scoring, and how far groups are believed against their members after the third, again by the training
span. They and the overload score spans of sets above once more.
"""


def forecast_protocol(
    name: str, data: Path | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Score one set of the protocol on its test span.

    Args:
        name: one of ``FORECAST_SETS``.
        data: folder with the series; None for ``data_folder()``.
        seed: of the trees' draws.
        progress: told the share that is done.

    Returns:
        ``crps_ratio`` of ours to the baseline's, for substations to OpenSTEF's as recorded (and
        ``crps_ratio_naive``), ``crps_ratio_bounded`` to a baseline kept within what training has seen,
        ``coverage80`` of the 10–90 % band (of generation where the sun is up, since
        nights are certain), ``mae_kw`` of the median (of prices ``mae_mwh``), ``nmae`` in shares of the mean
        size, the class of
        ``weather``, ``refit_days``, how many forecasts and steps were scored, ``test_scored``: how often
        this span has been scored; the baseline's own figures.

    Raises:
        KeyError: no such set.
        FileNotFoundError: its files are not in the folder.
    """
    task = forecast_set(name, data or data_folder())
    settings = SETTINGS[task.kind if task.daily else f"{task.kind}_hour"]
    begun = time.process_time()
    trial = backtest(
        task.history,
        task.weather,
        task.site,
        task.issues(task.history.grid.start_s, task.test_end_s),
        task.leads,
        settings,
        task.test_start_s,
        seed=seed,
        progress=progress,
    )
    spent = time.process_time() - begun
    baseline = _baseline(task, trial)
    scored = _scored(task, trial, baseline)
    ours, theirs = _figures(task, trial, trial.value_kw, scored), _figures(task, trial, baseline, scored)
    crps_of = f"crps_{_unit(task)}"
    answer = {
        "set": name,
        "crps_ratio": round(ours[crps_of] / theirs[crps_of], 4),
        "coverage80": ours["coverage80"],
        "mae": ours[f"mae_{_unit(task)}"],
        "weather": task.weather_kind,
        "refit_days": settings.refit_days,
        "test_scored": TIMES_SCORED.get(name, 0),
        "ours": ours,
        "naive": {"rule": task.naive, **theirs},
        "crps_ratio_bounded": round(
            ours[crps_of] / (_times(task) * _bounded_crps(task, trial, baseline, scored)), 4
        ),
        "series": len(task.history.series),
        "forecasts": len(trial.issues_s),
        "steps": int(scored.sum()),
        "fits": trial.fits,
        "weights": [round(float(w), 3) for w in trial.weight.mean(axis=0)],
        "seed": seed,
        "cpu_s": round(spent, 1),
    }
    if task.kind != "substation":
        return answer
    rival = against_openstef(name, task.history.series, trial.truth_kw, trial.value_kw, baseline, scored)
    return {**answer, "crps_ratio_naive": answer["crps_ratio"], **rival}


def _baseline(task: ForecastSet, trial: Trial) -> Floats:
    grid = task.history.grid
    # Of a price, steps that are published when the forecast is made are the baseline's to use too.
    at = (trial.issues_s - grid.start_s) // task.step_s + task.published
    value = task.history.value_kw.astype(np.float64)
    return naive(
        value,
        grid.starts_s,
        task.site.timezone,
        at,
        task.leads - task.published,
        task.naive,
        task.train_end_s,
    )


def _bounded_crps(task: ForecastSet, trial: Trial, baseline: Floats, scored: NDArray[np.bool_]) -> float:
    """CRPS of a baseline that stays within what the training span has seen, which the protocol's need not."""
    trained = task.history.value_kw[:, task.history.grid.starts_s < task.train_end_s]
    low, high = (fold(trained, axis=1)[:, None, None, None] for fold in (np.nanmin, np.nanmax))
    return float(crps(trial.truth_kw, np.clip(baseline, low, high))[scored].mean())


def _targets(task: ForecastSet, trial: Trial) -> NDArray[np.int64]:
    """Start of each forecast step (I, L)."""
    return trial.issues_s[:, None] + task.leads * task.step_s


def _scored(task: ForecastSet, trial: Trial, baseline: Floats) -> NDArray[np.bool_]:
    """Cells (S, I, L) whose truth is known, of the test span, that both sides forecast."""
    both = np.isfinite(trial.truth_kw) & np.isfinite(baseline[..., 0])
    return np.asarray(both & (_targets(task, trial) + task.step_s <= task.test_end_s))


def _figures(
    task: ForecastSet, trial: Trial, quantiles: NDArray[np.floating[Any]], scored: NDArray[np.bool_]
) -> dict[str, float]:
    truth = trial.truth_kw
    certain = scored & _dark(task, trial) if task.kind == "pv" else np.zeros_like(scored)
    covered = inside(truth, quantiles)[scored & ~certain].mean()
    error = np.abs(truth - quantiles[..., 4])[scored].mean()
    known = truth[scored]
    loss = crps(truth, quantiles)[scored].mean()
    low, high = np.quantile(known, [0.01, 0.99])
    unit, times = _unit(task), _times(task)
    return {
        f"crps_{unit}": round(float(loss) * times, 4),
        "rcrps": round(float(loss / (high - low)), 4),
        "coverage80": round(float(covered), 4),
        f"mae_{unit}": round(float(error) * times, 4),
        "nmae": round(float(error / np.abs(known).mean()), 4),
    }


def _unit(task: ForecastSet) -> str:
    """What errors are told in: kW, or for prices money per MWh."""
    return "mwh" if task.kind == "price" else "kw"


def _times(task: ForecastSet) -> float:
    """Prices are held in money per kWh."""
    return 1000.0 if task.kind == "price" else 1.0


def _dark(task: ForecastSet, trial: Trial) -> NDArray[np.bool_]:
    """Cells (1, I, L) during which the sun does not rise."""
    starts = _targets(task, trial)
    unique, where = np.unique(starts, return_inverse=True)
    edges = np.append(unique, unique[-1] + task.step_s)
    light = clear_sky(task.site, edges)[:, [0, 3]].sum(axis=1)
    return np.asarray(light[where].reshape(1, *starts.shape) == 0)
