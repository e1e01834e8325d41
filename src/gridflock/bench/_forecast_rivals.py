"""OpenSTEF's scores on the Dutch substations, as recorded by ``make bench-openstef``, beside ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import crps, inside

Floats = NDArray[np.floating[Any]]
_RECORD = "openstef.json"
_KW = 1000.0
PLAIN = "plain"
"""The way OpenSTEF is operated: one model for both horizons, trained once. The ratio counts against it."""


def recorded() -> Mapping[str, Any]:
    """What ``make bench-openstef`` found: versions, date, and scores by station, set and way of training."""
    found: Mapping[str, Any] = json.loads(files("gridflock.bench").joinpath(_RECORD).read_text("utf-8"))
    return found


def against_openstef(
    name: str,
    series: Sequence[str],
    truth_kw: NDArray[np.float64],
    ours_kw: Floats,
    naive_kw: Floats,
    scored: NDArray[np.bool_],
) -> dict[str, Any]:
    """Our scores station by station, as ratios to OpenSTEF's.

    Args:
        name: of the set.
        series: S ids.
        truth_kw: (S, I, L).
        ours_kw: (S, I, L, 9) quantiles 0.1 to 0.9.
        naive_kw: (S, I, L, 9) the baseline's.
        scored: (S, I, L) cells that count.

    Returns:
        ``crps_ratio``: mean over the stations of our CRPS to OpenSTEF's; the same against its other ways of
        training; figures by station; what was run, when. ``rows`` says how many steps each side scored.

    Raises:
        KeyError: nothing is recorded for the set or a station.
    """
    record = recorded()
    ways = record["stations"][series[0]][name]
    loss, base = crps(truth_kw, ours_kw), crps(truth_kw, naive_kw)
    covered = inside(truth_kw, ours_kw)
    stations = {}
    for s, station in enumerate(series):
        rows, theirs = scored[s], record["stations"][station][name]
        ours = float(loss[s][rows].mean())
        stations[station] = {
            "crps_kw": round(ours, 2),
            "coverage80": round(float(covered[s][rows].mean()), 4),
            "naive_ratio": round(ours / float(base[s][rows].mean()), 4),
            **{f"openstef_{way}": round(ours / (_KW * theirs[way]["crps_mw"]), 4) for way in ways},
            "rows": [int(rows.sum()), theirs[PLAIN]["rows"]],
        }
    ratio = {way: _mean([one[f"openstef_{way}"] for one in stations.values()]) for way in ways}
    return {
        "crps_ratio": ratio[PLAIN],
        "openstef": {
            "versions": record["versions"],
            "measured_on": record["measured_on"],
            "crps_ratio": ratio,
            "stations": stations,
        },
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)
