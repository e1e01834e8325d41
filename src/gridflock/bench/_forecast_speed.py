"""How fast meters are forecast: features, members, tables and corrections of very many series."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import Site
from gridflock.forecast.learned import SETTINGS, Trained, train
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

_DAYS = 60
_AHEAD = 36
_CHUNK = 10_000
_START_S = unix_s("2026-03-02")
_NOW_S = _START_S + _DAYS * DAY_S
_SITE = Site(52.1, 5.3, "Europe/Amsterdam", "NL")
_KIB_PER_GIB = 2**20


def forecast_speed(series: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Train on and refresh synthetic hourly meters, 36 hours ahead, nine quantiles; processor time.

    More than ten thousand are made, forecast and dropped in chunks, as a fleet is.

    Args:
        series: how many meters.
        seed: of the meters and of the trees' draws.

    Returns:
        ``refresh_s`` of all, ``train_s`` of the class's one model, ``rss_gib`` at the highest, and
        ``counts``: whether every forecast was whole and its quantiles in order.
    """
    weather = _weather()
    first = _meters(min(series, _CHUNK), seed)
    issues = _NOW_S - DAY_S * np.arange(_DAYS - 14, 0, -1)
    issues = np.sort(np.concatenate([issues + 6 * HOUR_S, issues + 12 * HOUR_S]))
    begun = time.process_time()
    trained = train(first, weather, _SITE, issues, np.arange(_AHEAD), SETTINGS["meter"], _NOW_S, seed=seed)
    train_s = time.process_time() - begun
    refresh_s, whole = _refresh(trained, first, weather)
    for k in range(1, -(-series // _CHUNK)):
        chunk = _meters(min(_CHUNK, series - k * _CHUNK), seed + k)
        spent, right = _refresh(trained, chunk, weather)
        refresh_s, whole = refresh_s + spent, whole and right
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_PER_GIB
    return {
        "series": series,
        "refresh_s": round(refresh_s, 3),
        "train_s": round(train_s, 3),
        "rss_gib": round(peak, 3),
        "steps": _AHEAD,
        "quantiles": 9,
        "counts": whole,
        "why_not": "" if whole else "a forecast is missing, or its quantiles cross",
    }


def _refresh(trained: Trained, meters: History, weather: Weather) -> tuple[float, bool]:
    begun = time.process_time()
    found = trained.forecast(meters, weather, _SITE, _NOW_S)
    spent = time.process_time() - begun
    value = found.value_kw
    return spent, bool(np.isfinite(value).all() and (np.diff(value, axis=1) >= 0).all())


def _weather() -> Weather:
    grid = TimeGrid.uniform(_START_S, HOUR_S, 24 * (_DAYS + 3))
    hour = np.arange(grid.n)
    temp = 10 + 5 * np.sin(2 * np.pi * (hour - 9) / 24) + 3 * np.sin(hour / 150)
    return Weather(grid, {"temp_c": temp}, "perfect")


def _meters(series: int, seed: int) -> History:
    """Homes with habits of their own: morning and evening peaks, noise that lasts, gaps in one of twenty."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(_START_S, HOUR_S, 24 * _DAYS)
    hour = np.arange(grid.n, dtype=np.float32)
    size, early, late, evening = (rng.gamma(4, 0.25, (series, 1)).astype(np.float32) for _ in range(4))
    clock = hour % 24
    load = 0.2 * size + _peak(clock, 7.5 + early, 0.4 * size) + _peak(clock, 19.0 + late, 0.8 * evening)
    noise = rng.gamma(2.0, 0.5, load.shape).astype(np.float32)
    load *= 0.6 + 0.4 * noise
    value: NDArray[np.float64] = -load.astype(np.float64)
    value[::20, -96:-72] = np.nan
    return History(grid, tuple(map(str, range(series))), value)


def _peak(
    clock: NDArray[np.float32], at: NDArray[np.float32], height: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.asarray(height * np.exp(-0.5 * ((clock - at) / 1.8) ** 2), dtype=np.float32)
