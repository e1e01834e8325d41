"""What will be: quantiles of every series from what was known at one moment.

``forecast`` answers for load, vehicles, groups and feeders from habits, and for generation from
the sun over the ``Site``; ``score`` says afterwards how good that was.
"""

from gridflock.forecast._forecast import forecast
from gridflock.forecast._score import Score, score
from gridflock.forecast._sun import Site

__all__ = ["Score", "Site", "forecast", "score"]
