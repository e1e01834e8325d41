"""What a group will be able to do, and how sure that is: availability and flexibility as quantiles.

``futures`` draws who would follow an order, from what became of earlier ones (``Chances``): whoever shares a
provider or a group errs with it. ``availability`` says how much of a group is connected, at work and would
answer, step by step. ``flexibility_ahead`` says how far a group can move its power up and down from each
step on, by how soon it is called and how long it has to last, with what it needs to recover; each is counted
path by path, over joint paths of all bases, through the members' models of ``fleet.flexible``. A group's
quantiles are those of its sum, which sums of its members' quantiles are not. ``came`` says afterwards what a
group could have done, and ``recalibrated`` moves a forecast's quantiles to where such truths have lain
(``missed``).

A path is one way the future may go: what everybody does unasked, who answers, which vehicles leave when.
"""

from gridflock.forecast.flexibility._ahead import Asked, FlexibilityAhead, Way, flexibility_ahead
from gridflock.forecast.flexibility._answers import Chances
from gridflock.forecast.flexibility._availability import Availability, availability
from gridflock.forecast.flexibility._came import came, missed, recalibrated
from gridflock.forecast.flexibility._futures import Part, futures

__all__ = [
    "Asked",
    "Availability",
    "Chances",
    "FlexibilityAhead",
    "Part",
    "Way",
    "availability",
    "came",
    "flexibility_ahead",
    "futures",
    "missed",
    "recalibrated",
]
