"""How large a series is, and what it never exceeds, by class."""

from __future__ import annotations

from collections.abc import Callable

from gridflock.forecast.learned._price import published_bound
from gridflock.forecast.learned._sunlit import sunlit_bound, sunlit_scale
from gridflock.forecast.learned._turbines import turbine_bound, turbine_scale
from gridflock.forecast.learned._view import Floats, View, scale_of
from gridflock.forecast.learned._young import young_scale

Bound = Callable[[View], tuple[Floats | float, Floats | float]]
"""Lowest and highest value of each cell, kW, each of a shape that broadcasts to (S, I, L)."""
Scale = Callable[[View], Floats]
"""Size (S, I) > 0 of each series, or (S, I, L) of each cell, as known at each moment of issue, kW."""


def drawn(view: View) -> tuple[float, float]:
    """Nothing is injected."""
    del view
    return -float("inf"), 0.0


SCALES: dict[str, Scale] = {
    "mean": scale_of,
    "sunlit": sunlit_scale,
    "turbine": turbine_scale,
    "young": young_scale,
}
BOUNDS: dict[str, Bound] = {
    "drawn": drawn,
    "sunlit": sunlit_bound,
    "turbine": turbine_bound,
    "published": published_bound,
}
