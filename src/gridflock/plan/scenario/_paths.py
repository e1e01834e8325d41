"""Futures of what a plan cannot choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Flexibility, Forecast
from gridflock.units import Kw

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """K futures of what a plan cannot choose.

    Attributes:
        fixed_kw: (K, T) everything that takes no orders.
        base_kw: (K, G, T) what the groups would do unasked, or None where that is taken as known.
        weight: (K,) probabilities, adding up to 1.
    """

    fixed_kw: Kw
    base_kw: Kw | None
    weight: Floats

    @property
    def n(self) -> int:
        """How many."""
        return len(self.weight)

    def part(self, first: int, until: int) -> Paths:
        """Some of the paths, in order, with weights that add up to 1."""
        weight = self.weight[first:until]
        base = None if self.base_kw is None else self.base_kw[first:until]
        return Paths(self.fixed_kw[first:until], base, weight / weight.sum())


def futures(forecast: Forecast, fixed: str, flexibility: Flexibility, drawn_kw: Kw) -> Paths:
    """Joint paths as a plan needs them: of all that takes no orders, and of what groups do unasked.

    Groups that the flexibility takes at the forecast's median follow their paths; all others are taken as
    known.

    Args:
        forecast: of the series named by ``fixed`` and by the groups.
        fixed: the series of everything that takes no orders.
        flexibility: G groups over the forecast's T steps.
        drawn_kw: (K, S, T) joint paths of the forecast's series, equally likely.

    Raises:
        KeyError: no such series.
    """
    if fixed not in forecast.series:
        raise KeyError(fixed)
    count = len(drawn_kw)
    place = {name: k for k, name in enumerate(forecast.series)}
    base: Kw = np.repeat(flexibility.base_kw[None], count, axis=0)
    for g, group in enumerate(flexibility.groups):
        if group in place and np.allclose(flexibility.base_kw[g], forecast.median(group)):
            base[:, g] = drawn_kw[:, place[group]]
    return Paths(drawn_kw[:, place[fixed]], base, np.full(count, 1.0 / count))
