"""Members whose energy moves in a line: one store each, its power and its content bounded per step."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from gridflock.fleet.flexible._compiled import Array, compiled
from gridflock.units import Kw, Kwh, Mask, Rows


class Columns(NamedTuple):
    """What the compiled loops read of ``Chains``, by the same names without units."""

    p_lo: Array
    p_hi: Array
    gain: Array
    loss: Array
    hours: Array
    e_lo: Array
    e_hi: Array


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Members whose power ``p`` and stored energy ``e`` are bounded and move in a line.

    ``e[t+1] = exp(-loss·hours[t])·e[t] - gain[t]·p[t]``, ``p_lo <= p <= p_hi``, ``e_lo <= e <= e_hi``.
    Injection is positive, so charging (negative ``p``) fills the store. A lossless store has
    ``gain = hours``; one that only charges has ``hours·efficiency``; sun on offer, which stores
    nothing, has 0. The energy bounds are tight: from every content inside them the horizon's end can
    be reached, and each was reachable. ``e_lo[:, 0] == e_hi[:, 0]`` is the energy now.

    Attributes:
        rows: int32 (m,) rows of the fleet.
        hours: (T,) length of the steps, h.
        p_lo_kw: (m, T).
        p_hi_kw: (m, T).
        gain_h: (m, T) energy leaving the store per kW held over the step, h, >= 0.
        loss_per_h: (m,) rate at which stored energy fades, 1/h, >= 0.
        e_lo_kwh: (m, T+1).
        e_hi_kwh: (m, T+1).
        missed_kwh: (m,) how much a wish had to give way because it cannot be reached, at most.
    """

    rows: Rows
    hours: Array
    p_lo_kw: Array
    p_hi_kw: Array
    gain_h: Array
    loss_per_h: Array
    e_lo_kwh: Array
    e_hi_kwh: Array
    missed_kwh: Array

    @classmethod
    def of(
        cls,
        rows: Rows,
        hours: Array,
        p_lo_kw: Kw,
        p_hi_kw: Kw,
        gain_h: Array,
        loss_per_h: Array,
        e_lo_kwh: Kwh,
        e_hi_kwh: Kwh,
    ) -> Chains:
        """Chains with tight energy bounds; a bound that cannot be kept is moved to what can be.

        Args:
            rows: (m,) rows of the fleet.
            hours: (T,).
            p_lo_kw: (m, T).
            p_hi_kw: (m, T), not below ``p_lo_kw``.
            gain_h: (m, T).
            loss_per_h: (m,).
            e_lo_kwh: (m, T+1); may be ``-inf``; column 0 is the energy now.
            e_hi_kwh: (m, T+1), not below ``e_lo_kwh``; may be ``inf``; column 0 is the energy now.

        Raises:
            ValueError: a number that is NaN, bounds that cross, a negative gain or loss, or an energy
                now that is not one finite number.
        """
        wide = [np.array(a, dtype=np.float64) for a in (p_lo_kw, p_hi_kw, gain_h, e_lo_kwh, e_hi_kwh)]
        p_lo, p_hi, gain, e_lo, e_hi = wide
        loss = np.array(loss_per_h, dtype=np.float64)
        sound = (p_lo <= p_hi).all() and (e_lo <= e_hi).all() and (gain >= 0).all() and (loss >= 0).all()
        if not sound or not np.isfinite([p_lo, p_hi, gain]).all() or not np.isfinite(loss).all():
            raise ValueError("chains need ordered bounds and finite powers, gains and losses")
        if not (np.isfinite(e_lo[:, 0]) & (e_lo[:, 0] == e_hi[:, 0])).all():
            raise ValueError("the energy now is one finite number for each chain")
        hours = np.array(hours, dtype=np.float64)
        missed = np.zeros(len(rows))
        _tighten(p_lo, p_hi, gain, loss, hours, e_lo, e_hi, missed)
        return cls(rows.astype(np.int32), hours, p_lo, p_hi, gain, loss, e_lo, e_hi, missed)

    @property
    def n(self) -> int:
        """How many members."""
        return len(self.rows)

    @property
    def lossless(self) -> bool:
        """Whether every store gives back all it takes: then the sum is a g-polymatroid."""
        moved = (self.gain_h == 0.0) | (self.gain_h == self.hours)
        return bool(moved.all()) and not self.loss_per_h.any()

    @property
    def columns(self) -> Columns:
        """What the compiled loops read."""
        powers = (self.p_lo_kw, self.p_hi_kw, self.gain_h, self.loss_per_h)
        return Columns(*powers, self.hours, self.e_lo_kwh, self.e_hi_kwh)

    def and_also(self, others: Chains) -> Chains:
        """These members and those, in that order, over the same steps."""
        joined = {
            field.name: np.concatenate([getattr(self, field.name), getattr(others, field.name)])
            for field in fields(self)
            if field.name != "hours"
        }
        return Chains(hours=self.hours, **joined)

    def some(self, which: Mask) -> Chains:
        """The members of a mask."""
        names = (field.name for field in fields(self) if field.name != "hours")
        return Chains(hours=self.hours, **{name: getattr(self, name)[which] for name in names})

    @classmethod
    def none(cls, hours: Array) -> Chains:
        """No members over these steps."""
        steps = len(hours)
        wide, edges, each = np.zeros((0, steps)), np.zeros((0, steps + 1)), np.zeros(0)
        return cls(np.zeros(0, np.int32), hours, wide, wide, wide, each, edges, edges, each)


@compiled
def kept(loss: float, hours: float) -> float:
    """Share of stored energy left after a step."""
    return math.exp(-loss * hours) if loss > 0.0 else 1.0


@compiled
def _tighten(
    p_lo: Array,
    p_hi: Array,
    gain: Array,
    loss: Array,
    hours: Array,
    e_lo: Array,
    e_hi: Array,
    missed: Array,
) -> None:
    """Narrow energy bounds to what is reachable from now and from where the end is reachable.

    In one dimension the reachable set is an interval, so that two passes are exact. Where bounds
    exclude all that can be reached, they move to its nearest point.
    """
    members, steps = p_lo.shape
    for k in range(members):
        for t in range(steps):
            rho, g = kept(loss[k], hours[t]), gain[k, t]
            low = rho * e_lo[k, t] - g * p_hi[k, t]
            high = rho * e_hi[k, t] - g * p_lo[k, t]
            if e_lo[k, t + 1] > high:
                missed[k] = max(missed[k], e_lo[k, t + 1] - high)
                low = high
            elif e_hi[k, t + 1] < low:
                missed[k] = max(missed[k], low - e_hi[k, t + 1])
                high = low
            else:
                low = max(low, e_lo[k, t + 1])
                high = min(high, e_hi[k, t + 1])
            e_lo[k, t + 1], e_hi[k, t + 1] = low, high
        for t in range(steps - 1, 0, -1):
            rho, g = kept(loss[k], hours[t]), gain[k, t]
            e_lo[k, t] = min(max(e_lo[k, t], (e_lo[k, t + 1] + g * p_lo[k, t]) / rho), e_hi[k, t])
            e_hi[k, t] = max(min(e_hi[k, t], (e_hi[k, t + 1] + g * p_hi[k, t]) / rho), e_lo[k, t])
