"""What will be: quantiles of every series from what was known at one moment.

``forecast`` answers for load, vehicles, groups and feeders from habits, and for generation from
the sun over the ``Site``; ``score`` says afterwards how good that was. They need no training and are
always there. ``naive`` is the baseline every other is measured by, with ``crps`` and ``inside``; what is
learnt from history stands in ``gridflock.forecast.learned``.
"""

from gridflock.forecast._forecast import forecast
from gridflock.forecast._naive import naive
from gridflock.forecast._score import Score, crps, inside, score
from gridflock.forecast._sun import Site

__all__ = ["Score", "Site", "crps", "forecast", "inside", "naive", "score"]
