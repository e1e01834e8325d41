"""What is learnt how, class by class: a plain table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["table", "three", "nine"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a class of series is learnt.

    Attributes:
        blocks: names of ``BLOCKS``.
        members: "ridge"; "trees"; "over", trees on what the ridge leaves; "forest". Each at most once.
        mode: what the trees are grown for: the median with residual tables, three quantiles, or nine.
        anchor: column that is taken off the target and added again; empty: none.
        trees: how many per quantile.
        leaves: of a tree, most.
        rate: learning rate.
        least: rows in a leaf, least.
        columns: share of the columns each tree sees.
        rows: share of the rows each tree sees.
        strict: L2 penalty of the leaves.
        bold: splits of the trees at thresholds drawn at random (Geurts et al., "Extremely randomized trees",
            2006): calmer with few rows.
        seeds: trees grown so many times with other draws, averaged.
        penalty: of the ridge, per row.
        half_life_days: age at which a row counts half; 0: all alike.
        refit_days: how often a back-test fits again.
        warm_days: how long before its first issue a model is tried on what it has not seen.
        recent_days: how far back weights and recalibration look.
        calm: days of evidence that no correction is worth.
        wider: by how much bands stand wider, after their correction, than recent errors call for: what comes
            of a few weeks' errors is too narrow for the next few.
        most_rows: of training; more are drawn from.
        forest_trees: how many the forest has.
        forest_leaves: of each, most.
        forest_least: rows in a leaf of it, least.
        forest_columns: share of the columns each of its splits sees.
        apart: each series is learnt by itself: for few series that have little in common.
        scale: name of ``SCALES``: what powers are divided by.
        bound: name of ``BOUNDS``: what values never exceed; empty: nothing.
        sunlit: generation by the sun: the clear sky stands beside the weather, nights and dead days are
            not learnt from, and rows count by their size, so that misses weigh in kW.
        young: of series that have just begun, whose size is a guess and whose bands are wide by themselves.
    """

    blocks: tuple[str, ...] = ("clock", "lags", "around", "level", "thermal", "sky")
    members: tuple[str, ...] = ("ridge", "trees")
    mode: Mode = "nine"
    anchor: str = ""
    trees: int = 200
    leaves: int = 31
    rate: float = 0.05
    least: int = 40
    columns: float = 0.7
    rows: float = 0.7
    strict: float = 1.0
    bold: bool = False
    seeds: int = 1
    penalty: float = 0.01
    half_life_days: float = 0.0
    refit_days: int = 28
    warm_days: int = 60
    recent_days: int = 45
    calm: float = 10.0
    wider: float = 1.0
    most_rows: int = 400_000
    forest_trees: int = 150
    forest_leaves: int = 48
    forest_least: int = 40
    forest_columns: float = 0.35
    apart: bool = False
    scale: str = "mean"
    bound: str = ""
    sunlit: bool = False
    young: bool = False


_HOUR = ("clock", "lags", "level", "recent", "thermal", "sky")
_HABITS = ("clock", "lags", "around", "level", "habits", "usual", "fade")
_SUN = Settings(
    ("sun", "sun_past", "sun_sky", "sun_air", "sun_missed"),
    members=("forest", "trees"),
    trees=150,
    leaves=7,
    least=200,
    columns=0.5,
    rows=0.6,
    forest_leaves=100,
    forest_least=15,
    forest_columns=0.2,
    recent_days=30,
    calm=5.0,
    scale="sunlit",
    bound="sunlit",
    sunlit=True,
)
SETTINGS: Mapping[str, Settings] = {
    "feeder": Settings(
        ("clock", "season", "lags", "around", "level", "habits", "thermal", "sky"),
        members=("ridge", "trees", "over"),
        least=100,
        columns=0.4,
        recent_days=30,
        calm=6.0,
        wider=1.06,
        refit_days=60,
    ),
    "feeder_hour": Settings(
        ("clock", "season", "lags", "level", "recent", "habits", "thermal", "sky"),
        members=("ridge", "over"),
        least=60,
        columns=0.5,
        recent_days=30,
        refit_days=60,
    ),
    "homes": Settings(
        _HABITS,
        trees=120,
        leaves=8,
        rate=0.06,
        bold=True,
        columns=0.8,
        rows=0.5,
        strict=5.0,
        least=60,
        penalty=2.0,
        refit_days=14,
        recent_days=60,
        calm=20.0,
    ),
    "home": Settings(_HABITS, mode="three", trees=120, leaves=16, bold=True, rows=0.5, strict=5.0, least=200),
    "meter": Settings(blocks=("clock", "lags", "level"), members=("trees",), mode="table", trees=100),
    "pv": _SUN,
    "pv_hour": replace(_SUN, blocks=("sun", "sun_past", "sun_now", "sun_sky", "sun_air", "sun_missed")),
    "wind": Settings(
        ("turbine", "breeze", "air"),
        trees=120,
        leaves=8,
        rate=0.05,
        bold=True,
        columns=0.6,
        rows=0.5,
        strict=5.0,
        least=100,
        penalty=1.0,
        refit_days=7,
        warm_days=28,
        recent_days=30,
        calm=40.0,
        wider=1.08,
        scale="turbine",
        bound="turbine",
    ),
    "price": Settings(
        ("clock", "price", "thermal", "sky", "wind"),
        anchor="price_usual",
        trees=120,
        leaves=8,
        bold=True,
        rows=0.5,
        strict=5.0,
        least=60,
        penalty=1.0,
        refit_days=14,
        warm_days=42,
        recent_days=45,
        calm=20.0,
        wider=1.08,
        bound="published",
    ),
    "ev": Settings(("clock", "lags", "level", "habits"), anchor="habit", trees=100, leaves=8, rate=0.06),
    "heat_pump": Settings(
        ("clock", "lags", "level", "thermal", "heating"),
        anchor="degree_day",
        trees=100,
        leaves=8,
        rate=0.06,
        penalty=0.002,
        refit_days=7,
        recent_days=45,
        calm=5.0,
    ),
    "substation": Settings(
        ("clock", "lags", "around", "level", "thermal", "sky", "wind", "air", "profiles", "usual", "fade"),
        mode="three",
        anchor="usual",
        trees=150,
        bold=True,
        columns=0.8,
        rows=0.5,
        strict=5.0,
        least=60,
        penalty=0.5,
        refit_days=7,
        warm_days=35,
        calm=100.0,
        wider=1.17,
        apart=True,
    ),
    "substation_hour": Settings(
        (*_HOUR, "wind", "air", "profiles", "moves"),
        mode="three",
        anchor="step_last",
        trees=150,
        bold=True,
        columns=0.6,
        rows=0.5,
        strict=5.0,
        penalty=0.3,
        refit_days=7,
        warm_days=35,
        calm=50.0,
        apart=True,
    ),
}
"""Settings by class; ``_hour`` for an hour ahead."""
