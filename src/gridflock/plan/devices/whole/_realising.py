"""From a planned share that is on to loads that are on or off, with the error of that stated.

The plan's power of a population is continuous, its loads are not. Here they live through the plan on
their own model, switched by the priority stack as they will be in operation. Each moment's sum misses the
plan by rounding, at most half a load, and beyond that by what minimum times, comfort and nameplates hold
back. The mean of each is stated for every step; together they bound the error of the step's mean, in which
misses of both signs cancel out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.sharing.switching import Stack
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices.whole._population import Population
from gridflock.units import HOUR_S, Kw, Kwh

EVERY_S = 60
"""How often loads are switched, s."""
_FLOAT_KW = 1e-6
"""Rounding of a float32 nameplate, as a part of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Realised:
    """A plan lived through by whole loads.

    Attributes:
        p_kw: float32 (n, T) mean power of each load in each step, <= 0.
        sum_kw: float64 (T,) of all together.
        rounding_kw: float64 (T,) stated error because loads come in whole ones: the mean of what was missed
            at each moment, as far as it is less than half a load.
        held_kw: float64 (T,) stated error beyond that: minimum times, comfort or nameplates held loads back.
        rated_kw: what all loads on would draw, kW, > 0.
        outside: how far a content left its band at worst, as a part of the band.
        switched: how often loads were switched, all together.
    """

    p_kw: NDArray[np.float32]
    sum_kw: Kw
    rounding_kw: Kw
    held_kw: Kw
    rated_kw: float
    outside: float
    switched: int

    @property
    def error_kw(self) -> Kw:
        """(T,) most by which the sum misses the plan."""
        error: Kw = self.rounding_kw + self.held_kw
        return error

    @property
    def error_share(self) -> Array:
        """(T,) the same as a part of all loads' power."""
        return self.error_kw / self.rated_kw


def realise(
    population: Population, planned_kw: Kw, hours: Array, start_s: int, every_s: int = EVERY_S
) -> Realised:
    """Live through a plan with loads that are on or off.

    A load one of whose minimum times is no longer than ``every_s`` could have switched twice unheard, and
    the stack would hold it for ever: such times count as a second longer than that.

    Args:
        population: the loads, as they are now.
        planned_kw: float64 (T,) planned sum, <= 0.
        hours: float64 (T,) length of each step.
        start_s: begin of the first step, unix seconds.
        every_s: how often the loads are switched, at least once a step.
    """
    of, steps, rated = population, len(hours), -float(population.p_on_kw.sum())
    least = _shortest(of, every_s)
    stack = Stack.start(of.p_on_kw, least[0], least[1], of.on, start_s, of.locked_s)
    p_kw = np.zeros((len(of.on), steps), dtype=np.float32)
    rounding, held, switched = np.zeros(steps), np.zeros(steps), 0
    content: Kwh = of.e_now_kwh
    outside, begun = 0.0, 0.0
    for t in range(steps):
        moments = max(1, round(hours[t] * HOUR_S / every_s))
        for moment in range(moments):
            now_s = start_s + round((begun + hours[t] * moment / moments) * HOUR_S)
            seen = stack.on.astype(np.int8)
            done = stack.step(float(planned_kw[t]), content / of.band_kwh, seen, now_s)
            stack, switched = done.stack, switched + len(done.switched)
            missing = abs(float(planned_kw[t]) - done.p_kw)
            rounding[t] += min(missing, of.rounding_kw) / moments
            held[t] += max(missing - of.rounding_kw, 0.0) / moments
            drawn = np.where(stack.on == 1, -of.p_on_kw, 0.0)
            p_kw[:, t] -= (drawn / moments).astype(np.float32)
            content = of.after(content, drawn, t, hours[t] / moments)
            full = content / of.band_kwh
            outside = max(outside, float(np.maximum(-full, full - 1.0).max(initial=0.0)))
        begun += hours[t]
    return Realised(
        p_kw=p_kw,
        sum_kw=p_kw.sum(axis=0, dtype=np.float64),
        rounding_kw=rounding + _FLOAT_KW * rated,
        held_kw=held,
        rated_kw=rated,
        outside=outside,
        switched=switched,
    )


def _shortest(of: Population, every_s: int) -> tuple[Array, Array]:
    """Minimum times on and off, each heard before it is over; 0 where a load has none at all."""
    times = np.asarray(of.min_on_s, dtype=np.float64), np.asarray(of.min_off_s, dtype=np.float64)
    none = (times[0] <= 0.0) & (times[1] <= 0.0)
    on, off = (np.where(none, 0.0, np.maximum(each, every_s + 1.0)) for each in times)
    return on, off
