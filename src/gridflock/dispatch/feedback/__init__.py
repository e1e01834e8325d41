"""Feedback: what is measured on a feeder corrects what is ordered, every few seconds.

``correct(state, sight, wanted, standing, able, now_s) -> Correction`` is a pure function of one feeder's
tick. It moves the targets of arbitration as little as brings every measured voltage, current and power
inside its limit and margin: *level + S·(target - standing) <= limit - margin*, reactive power first, active
power next. Measured levels replace modelled ones, so wrong sensitivities change how fast a limit is
reached and not where (Bernstein and Dall'Anese, "Real-time feedback-based optimization of distribution
grids", IEEE Trans. Control of Network Systems 6(3), 2019). What is handed in, all arrays over the n resources
of the feeder or the m rows in sight:

* ``Sight``: readings with the moment they were taken, limits, noise, usual drift, ramp limits, and
  ``Effects``: sensitivities by port, made anew by a slow task. Nothing is done about what is not in sight.
* ``Powers`` wanted: the targets before feedback, or what a resource does unasked; NaN leaves it alone.
* ``Standing``: what each is known to do and since when, from acknowledgements or telemetry. Orders that were
  not answered are not in it; they are neither waited for nor asked for twice.
* ``Able``: bounds (capability within envelope), inverter ratings, and who answers: the silent are frozen.

The answer holds targets for all rows, the rows held with the limit that holds each (``said`` puts it into
words), what no resource could mend (``slack``), and the ``Feedback`` to hand in next time;
``Feedback.none(n, m)`` begins.
"""

from gridflock.dispatch.feedback._correct import Correction, Feedback, Tuning, correct, said
from gridflock.dispatch.feedback._sight import Able, Effects, Powers, Quantity, Sight, Standing, effects

__all__ = [
    "Able",
    "Correction",
    "Effects",
    "Feedback",
    "Powers",
    "Quantity",
    "Sight",
    "Standing",
    "Tuning",
    "correct",
    "effects",
    "said",
]
