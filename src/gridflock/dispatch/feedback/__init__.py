"""Feedback: what is measured on a feeder corrects what is ordered, every few seconds.

``correct(state, sight, wanted, standing, able, now_s) -> Correction`` is a pure function of one feeder's
tick. It moves the targets of arbitration as little as brings every measured voltage, current and power
inside its limit and margin: *level + S·(target - standing) <= limit - margin*, reactive power first, active
power next. Measured levels replace modelled ones, so wrong sensitivities change how fast a limit is
reached and not where (Bernstein and Dall'Anese, "Real-time feedback-based optimization of distribution
grids", IEEE Trans. Control of Network Systems 6(3), 2019). What is handed in, all arrays over the n resources
of the feeder or the m rows in sight:

* ``Sight``: readings with the moment they were taken, limits, noise, usual drift, ramp limits, and
  sensitivities by port (``effects``), made anew by a slow task. Nothing is done about what is not in sight.
* ``Powers`` wanted: the targets before feedback, or what a resource does unasked; NaN leaves it alone.
* ``Standing``: what each is known to do and since when, from acknowledgements or telemetry. Orders that were
  not answered are not in it; they are neither waited for nor asked for twice.
* ``Able``: bounds (capability within envelope), inverter ratings, and who answers: the silent are frozen.

The answer holds targets for all rows, the rows held with the limit that holds each (``said`` puts it into
words), what no resource could mend (``slack``), and the ``Feedback`` to hand in next time;
``Feedback.none(n)`` begins. Rows may come and go: what is known of one follows its name.

A watchdog judges the readings and the answers of the feeder. Where they are not to be trusted ``mode`` is
``Mode.LOCAL``, all targets are NaN, and one ``alarm`` says why: orders are left to run out, and devices
follow their own policies (``_local.py``) until it has been calm for a while.
"""

from gridflock.dispatch.feedback._correct import correct, said
from gridflock.dispatch.feedback._sight import Able, Effects, Powers, Quantity, Sight, Standing, effects
from gridflock.dispatch.feedback._state import Correction, Feedback, Tuning
from gridflock.dispatch.feedback._watch import Mode

__all__ = [
    "Able",
    "Correction",
    "Effects",
    "Feedback",
    "Mode",
    "Powers",
    "Quantity",
    "Sight",
    "Standing",
    "Tuning",
    "correct",
    "effects",
    "said",
]
