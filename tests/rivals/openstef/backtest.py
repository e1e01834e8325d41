"""OpenSTEF 3 on three Dutch substations: its CRPS, coverage and MAE on the rows our back-test scores.

Runs in an environment of its own (`requirements.txt` beside this file) and knows nothing of Gridflock. What
it finds is written as JSON, with which the back-test of `substations_36h` and `substations_1h` compares.

The model is OpenSTEF's `xgb` with its defaults and no search for hyperparameters, trained by the steps of
its own pipeline (validation of the data, features, split, fit, standard deviation by hour) on what lies
before `TRAINED_TO`. Its quantiles are its forecast plus the normal quantiles of that standard deviation.

- 36 h: issued at 12:00 Amsterdam time each day; the 144 quarters of an hour that follow, from the features
  of its operational forecast, which know the load before the issue and the weather as stored.
- 1 h: every quarter of an hour; the newest load it sees is the one an hour before.

Three ways to train it are measured: `plain`, one model for both horizons, as it is operated; `refitted`, the
same, trained again every seven days on what was known by then; `alone`, one model for each horizon.

The split draws its validation days at random: the run is repeated over seeds, and means are recorded. The
days also come in the order of a Python set: only with PYTHONHASHSEED set does a run repeat to the digit.
"""

import argparse
import contextlib
import datetime as dt
import functools
import importlib.metadata
import itertools
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from openstef.data_classes.model_specifications import ModelSpecificationDataClass
from openstef.data_classes.prediction_job import PredictionJobDataClass
from openstef.feature_engineering.feature_applicator import (
    OperationalPredictFeatureApplicator,
    TrainFeatureApplicator,
)
from openstef.model.confidence_interval_applicator import ConfidenceIntervalApplicator
from openstef.model.regressors.regressor import OpenstfRegressor
from openstef.pipeline import train_model
from openstef.validation import validation

PIDS = (287, 307, 435)
LEVELS = np.arange(1, 10) / 10
HORIZONS_H = (1.0, 36.0)
TRAINED_TO = pd.Timestamp("2021-01-10 17:00", tz="UTC")
END = pd.Timestamp("2021-01-28 10:00", tz="UTC")
FIRST_ISSUE, LAST_ISSUE = "2021-01-11 12:00", "2021-01-27 12:00"
ISSUED_BEFORE = pd.Timedelta(minutes=45)
AHEAD = pd.Timedelta(hours=36)
# Its longest lag is 14 days.
MEMORY = pd.Timedelta(days=16)


class Asked(NamedTuple):
    """Rows to forecast, how far ahead [h] each is, and what came."""

    features: pd.DataFrame
    lead_h: pd.Series
    truth: pd.Series


def job(pid: int) -> PredictionJobDataClass:
    """The prediction job of one substation: defaults but for the step and the nine quantiles."""
    return PredictionJobDataClass(
        id=pid,
        model="xgb",
        forecast_type="demand",
        resolution_minutes=15,
        name=str(pid),
        quantiles=[float(level) for level in LEVELS],
    )


@functools.cache
def rows_of(folder: pathlib.Path, pid: int) -> pd.DataFrame:
    """Load first, then what the operator stored beside it, by UTC time."""
    rows = pd.read_parquet(folder / f"pid_{pid}.parquet")
    rows = rows.set_index("index") if "index" in rows else rows
    rows.index = rows.index.tz_convert("UTC")
    return rows.astype(float).sort_index()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give the split, which asks numpy for an unseeded generator, a seeded one."""
    unseeded = np.random.default_rng
    np.random.default_rng = functools.partial(unseeded, seed)
    try:
        yield
    finally:
        np.random.default_rng = unseeded


@functools.cache
def learnable(
    pid: int, folder: pathlib.Path, before: pd.Timestamp, horizons_h: tuple[float, ...]
) -> pd.DataFrame:
    """Load, features and horizon of the rows before a moment, by its own steps."""
    rows = rows_of(folder, pid)
    return train_model.train_pipeline_step_compute_features(
        job(pid), ModelSpecificationDataClass(id=pid), rows[rows.index < before], horizons=list(horizons_h)
    )


@functools.cache
def trained(
    pid: int, folder: pathlib.Path, before: pd.Timestamp, horizons_h: tuple[float, ...], seed: int
) -> tuple[list[str], OpenstfRegressor]:
    """Names of its features and a model, by its own steps: split, fit, standard deviation."""
    features = learnable(pid, folder, before, horizons_h)
    with seeded(seed):
        train, check, _, _ = train_model.train_pipeline_step_split_data(features, job(pid), 0.0)
    specification = ModelSpecificationDataClass(id=pid)
    model = train_model.train_pipeline_step_train_model(job(pid), specification, train, check)
    return [name for name in features.columns if name not in ("load", "horizon")], model


@functools.cache
def at_noon(folder: pathlib.Path, pid: int, issue: pd.Timestamp) -> Asked:
    """Features of the 36 hours from an issue, with all its lags; of the load, nothing from there on."""
    rows = rows_of(folder, pid)
    seen = rows[(rows.index >= issue - MEMORY) & (rows.index < issue + AHEAD)].copy()
    ahead = seen.index >= issue
    truth = seen.loc[ahead, "load"].copy()
    seen.loc[ahead, "load"] = np.nan
    applicator = OperationalPredictFeatureApplicator(
        horizons=[0.25], feature_names=every_name(folder, pid), feature_modules=[]
    )
    heard = truth.notna()
    features = applicator.add_features(seen, job(pid)).loc[truth.index]
    lead_h = pd.Series((truth.index - issue).total_seconds() / 3600.0, index=truth.index)
    return Asked(features[heard], lead_h[heard], truth[heard])


@functools.cache
def every_name(folder: pathlib.Path, pid: int) -> list[str]:
    """All its features."""
    return list(hourly(folder, pid).features.columns)


@functools.cache
def hourly(folder: pathlib.Path, pid: int) -> Asked:
    """Features of every quarter of an hour, an hour ahead."""
    rows = rows_of(folder, pid)
    heard = validation.drop_target_na(
        validation.validate(pid, rows, job(pid).flatliner_threshold_minutes, job(pid).resolution_minutes)
    )
    found = TrainFeatureApplicator(horizons=[1.0]).add_features(heard, job(pid))
    return Asked(found.drop(columns=["load", "horizon"]), found["horizon"], found["load"])


def noons(folder: pathlib.Path, pid: int, begin: pd.Timestamp, end: pd.Timestamp) -> Asked:
    """What is asked at the noons of a span."""
    issues = pd.date_range(FIRST_ISSUE, LAST_ISSUE, freq="1D", tz="Europe/Amsterdam").tz_convert("UTC")
    each = [at_noon(folder, pid, issue) for issue in issues if begin <= issue < end]
    return Asked(*(pd.concat(parts) for parts in zip(*each, strict=True)))


def hours(folder: pathlib.Path, pid: int, begin: pd.Timestamp, end: pd.Timestamp) -> Asked:
    """What is asked at every step of a span; a step's issue lies three quarters of an hour before it."""
    every = hourly(folder, pid)
    rows = (every.truth.index >= begin + ISSUED_BEFORE) & (every.truth.index < end + ISSUED_BEFORE)
    return Asked(*(part[rows] for part in every))


def quantiles(model: OpenstfRegressor, pid: int, features: pd.DataFrame, lead_h: pd.Series) -> np.ndarray:
    """Nine quantiles [MW] (rows, 9) by its own interval step."""
    forecast = pd.DataFrame({"forecast": model.predict(features), "tAhead": lead_h}, index=features.index)
    spread = ConfidenceIntervalApplicator(model, features).add_confidence_interval(forecast, job(pid))
    return np.sort(spread[[f"quantile_P{100 * level:02.0f}" for level in LEVELS]].to_numpy(), axis=1)


def scored(truth: np.ndarray, fan: np.ndarray) -> dict[str, float]:
    """CRPS (twice the mean pinball loss of nine quantiles), share inside [q10, q90], MAE of the median."""
    miss = truth[:, None] - fan
    pinball = np.maximum(LEVELS * miss, (LEVELS - 1) * miss)
    inside = (truth >= fan[:, 0]) & (truth <= fan[:, -1])
    return {
        "crps_mw": float(2 * pinball.mean()),
        "coverage80": float(inside.mean()),
        "mae_mw": float(np.abs(miss[:, 4]).mean()),
        "rows": len(truth),
    }


class Way(NamedTuple):
    """One way to train: when, and at which horizons."""

    trained_to: list[pd.Timestamp]
    horizons_h: tuple[float, ...]


Task = Callable[[pathlib.Path, int, pd.Timestamp, pd.Timestamp], Asked]
SETS: dict[str, tuple[float, Task]] = {"substations_36h": (36.0, noons), "substations_1h": (1.0, hours)}


def back_tested(folder: pathlib.Path, pid: int, task: Task, way: Way, seed: int) -> dict[str, float]:
    """Score of one way to train on one set; each model forecasts until the next is trained."""
    truth, fans = [], []
    for begin, end in itertools.pairwise([*way.trained_to, END]):
        names, model = trained(pid, folder, begin, way.horizons_h, seed)
        asked = task(folder, pid, begin, end)
        fans.append(quantiles(model, pid, asked.features.reindex(columns=names), asked.lead_h))
        truth.append(asked.truth.to_numpy())
    return scored(np.concatenate(truth), np.concatenate(fans))


def ways(horizon_h: float) -> dict[str, Way]:
    """How the model of a set is trained, by name."""
    weekly = list(pd.date_range(TRAINED_TO, END, freq="7D"))
    return {
        "plain": Way([TRAINED_TO], HORIZONS_H),
        "refitted": Way(weekly, HORIZONS_H),
        "alone": Way([TRAINED_TO], (horizon_h,)),
    }


def summed_up(each: list[dict[str, float]]) -> dict[str, float]:
    """Mean over the seeds, with the spread of the CRPS."""
    mean = {name: float(np.mean([one[name] for one in each])) for name in ("crps_mw", "coverage80", "mae_mw")}
    spread = float(np.std([one["crps_mw"] for one in each]))
    rounded = {name: round(value, 5) for name, value in mean.items()}
    return {**rounded, "crps_sd_mw": round(spread, 5), "rows": each[0]["rows"]}


def station(folder: pathlib.Path, pid: int, seeds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by set and way."""
    return {
        name: {
            kind: summed_up([back_tested(folder, pid, task, way, seed) for seed in range(seeds)])
            for kind, way in ways(horizon_h).items()
        }
        for name, (horizon_h, task) in SETS.items()
    }


def main() -> None:
    """Score the three substations and write what was found."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=pathlib.Path, required=True, help="folder of pid_287.parquet")
    asked.add_argument("--out", type=pathlib.Path, required=True, help="JSON file to write")
    asked.add_argument("--seeds", type=int, default=5, help="repetitions with other validation days")
    told = asked.parse_args()
    warnings.filterwarnings("ignore")
    stations = {f"pid_{pid}": station(told.data, pid, told.seeds) for pid in PIDS}
    parts = ("openstef", "xgboost-cpu", "pandas", "scikit-learn")
    record = {
        "rival": "OpenSTEF xgb, defaults, no search for hyperparameters",
        "versions": {name: importlib.metadata.version(name) for name in parts},
        "measured_on": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "trained_to": TRAINED_TO.isoformat(),
        "seeds": told.seeds,
        "stations": stations,
    }
    told.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
