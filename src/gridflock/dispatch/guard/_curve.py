"""Curves that inverters follow by themselves: inside stated limits, and falling as the voltage rises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.model import Rejected
from gridflock.units import Pu

_FEWEST, _MOST = 2, 10
"""Points of a curve; IEEE 2030.5 allows ten."""


@dataclass(frozen=True, slots=True)
class CurveBounds:
    """What a curve over the voltage may look like; powers are parts of the rating, injection positive.

    Volt-var: reactive power given at low voltage and drawn at high voltage (IEEE 1547-2018, 5.3.3;
    its category B reaches 0.44 of the rating). Volt-watt: active power held down at high voltage (5.4.2).

    Attributes:
        v_lo_pu: lowest voltage of a point.
        v_hi_pu: highest.
        y_lo: lowest value: 0 for volt-watt.
        y_hi: highest value: 1 for volt-watt.
        gain: largest fall per pu of voltage; a steeper curve makes inverters hunt.
    """

    v_lo_pu: float = 0.77
    v_hi_pu: float = 1.23
    y_lo: float = -0.44
    y_hi: float = 0.44
    gain: float = 44.0

    @classmethod
    def volt_watt(cls) -> CurveBounds:
        """Active power as a part of the rating, down to nothing within at least 0.01 pu."""
        return cls(v_lo_pu=1.0, y_lo=0.0, y_hi=1.0, gain=100.0)

    def faults(self, name: str, v_pu: Pu, y: Pu) -> tuple[Rejected, ...]:
        """What keeps a curve from being sent; nothing where it may go.

        Args:
            name: whose curve, for the reports.
            v_pu: (k,) voltages of its points.
            y: (k,) values there.
        """
        v_pu, y = np.asarray(v_pu, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if v_pu.shape != y.shape or v_pu.ndim != 1 or not _FEWEST <= len(v_pu) <= _MOST:
            rule = f"{_FEWEST} to {_MOST} points, a value for each voltage"
            return (self._fault(name, "points", f"{v_pu.shape} voltages, {y.shape} values: {rule}"),)
        if not (np.isfinite(v_pu).all() and np.isfinite(y).all()):
            return (self._fault(name, "points", "not all are finite numbers"),)
        found = []
        for field, values, low, high in (
            ("v_pu", v_pu, self.v_lo_pu, self.v_hi_pu),
            ("y", y, self.y_lo, self.y_hi),
        ):
            out = values[(values < low) | (values > high)]
            if len(out):
                found.append(self._fault(name, field, f"{out[0]:g} is outside [{low:g}, {high:g}]"))
        rise, step = np.diff(v_pu), np.diff(y)
        if (rise <= 0).any():
            found.append(self._fault(name, "v_pu", "voltages do not rise from point to point"))
        elif (-step > self.gain * rise * (1 + 1e-9)).any():
            found.append(self._fault(name, "y", f"falls by more than {self.gain:g} per pu"))
        if (step > 0).any():
            found.append(self._fault(name, "y", "rises with the voltage: is its sign turned?"))
        return tuple(found)

    @staticmethod
    def _fault(name: str, field: str, reason: str) -> Rejected:
        return Rejected("curve", field, (name,), reason)
