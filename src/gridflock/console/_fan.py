"""Forecasts as pictures: fans over what was, and how often came what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gridflock.model import Forecast, History
from gridflock.units import DAY_S

_BLUE, _GREY = "#2471a3", "#566573"
_SHOWN_DAYS = 3
_MOST = 12
_WIDE = 3


def draw_fans(history: History, forecast: Forecast, units: Sequence[str], target: Path) -> None:
    """The last days of each series, with its unit, and its quantiles ahead, at most a dozen.

    Raises:
        OSError: the file cannot be written.
        ValueError: a format that matplotlib does not know.
    """
    names = forecast.series[:_MOST]
    wide = min(_WIDE, len(names))
    high = -(-len(names) // wide)
    figure = Figure(figsize=(4.2 * wide, 2.6 * high), layout="constrained")
    now_s = forecast.grid.start_s
    shown = history.grid.starts_s >= now_s - _SHOWN_DAYS * DAY_S
    past, ahead = _dates(history.grid.starts_s[shown]), _dates(forecast.grid.middles_s)
    for k, name in enumerate(names):
        axes = figure.add_subplot(high, wide, k + 1)
        axes.plot(past, history.value_kw[k, shown], lw=0.9, color=_GREY)
        value = forecast.value_kw[k]
        for step, pale in enumerate((0.15, 0.25, 0.35, 0.45)):
            axes.fill_between(ahead, value[step], value[-1 - step], color=_BLUE, alpha=pale, lw=0)
        axes.plot(ahead, value[len(value) // 2], lw=1.2, color=_BLUE)
        axes.set_title(name, fontsize=9)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
        axes.tick_params(labelsize=7)
        axes.set_ylabel(units[k], fontsize=8)
    figure.savefig(target, dpi=140)


def draw_reliability(
    nominal: NDArray[np.float64], seen: dict[str, NDArray[np.float64]], target: Path
) -> None:
    """Share of truths below each quantile, by method: on the diagonal where a forecast says what it knows.

    Raises:
        OSError: the file cannot be written.
        ValueError: a format that matplotlib does not know.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], lw=0.8, ls="--", color=_GREY)
    for name, share in seen.items():
        axes.plot(nominal, share, "o-", ms=4, lw=1.2, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="quantile", ylabel="share of truths below it")
    axes.legend(frameon=False)
    figure.savefig(target, dpi=140)


def draw_chances(bins: Sequence[Mapping[str, float]], title: str, target: Path) -> None:
    """How often came true what was said, by bins of the chance that was said, each with its days.

    Args:
        bins: each with ``said`` and ``came``, shares, and ``days``.
        title: above it.
        target: file to write.

    Raises:
        OSError: the file cannot be written.
        ValueError: a format that matplotlib does not know.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], lw=0.8, ls="--", color=_GREY)
    axes.plot([b["said"] for b in bins], [b["came"] for b in bins], "o-", ms=5, lw=1.2, color=_BLUE)
    for b in bins:
        axes.annotate(
            f"{b['days']:.0f} d",
            (b["said"], b["came"]),
            xytext=(6, -10),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="chance said", ylabel="share that came true")
    axes.set_title(title, fontsize=9)
    figure.savefig(target, dpi=140)


def _dates(t_s: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(date2num(t_s.astype("datetime64[s]")), dtype=np.float64)
