"""Following a signal that never rests: what to ask for when some orders are lost and some loads drift."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

_MEMORY = 0.95
"""What the last steps count against the newest in the share of orders that arrive."""
_LEAST = 0.5
"""No more than twice what is needed is ever ordered."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """Integral feedback of what a fleet fails to deliver; a value, renewed each step.

    Attributes:
        limit_kw: largest correction, of either sign: drift of loads that do not answer, not more.
        gain: share of a step's miss that is added to the correction, in (0, 1).
        response: share of orders that arrive, as learnt so far.
        correction_kw: what is asked for beyond the signal.
    """

    limit_kw: float
    gain: float = 0.3
    response: float = 1.0
    correction_kw: float = 0.0

    def heard(self, wanted_kw: float, measured_kw: float, asked_kw: float, arrived_kw: float) -> Self:
        """Learn from one step.

        Args:
            wanted_kw: sum that the signal wanted when the last orders were made.
            measured_kw: sum measured after they could act; NaN where there is no measurement.
            asked_kw: what the last orders were to switch, >= 0.
            arrived_kw: of that, what was heard to arrive.
        """
        response, correction = self.response, self.correction_kw
        if asked_kw > 0:
            arrived = max(_LEAST, min(1.0, arrived_kw / asked_kw))
            response = _MEMORY * response + (1.0 - _MEMORY) * arrived
        miss = wanted_kw - measured_kw
        if math.isfinite(miss):
            correction = max(-self.limit_kw, min(self.limit_kw, correction + self.gain * miss))
        return replace(self, response=response, correction_kw=correction)
