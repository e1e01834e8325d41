"""How every forecast did, day by day: who is champion of each series, and where something has changed.

A ``Card`` holds the marks of several methods on the same series, the first method being the one that is
always there. ``marked`` adds a day; ``alarms`` names series whose forecasts no longer hold; ``standing``
sums up the last days of each series and method.
"""

from gridflock.forecast.card._alarms import Alarm, alarms
from gridflock.forecast.card._card import Card, marked, new_card
from gridflock.forecast.card._standing import Standing, standing

__all__ = ["Alarm", "Card", "Standing", "alarms", "marked", "new_card", "standing"]
