"""Learned forecasts: members fitted on rows of series × issue × lead, weighed and set right as they go.

A row is one series at one moment of issue, some steps ahead. Its features come from a ``View``, which gives
out nothing that was learnt after the moment of issue; so a row may be built at any time, of the past or of
now, and is the same. Powers are in units of the series' own size (its mean size over 28 days), so that one
model serves a whole class.

The way of a forecast: blocks of features -> members (a ridge, boosted trees), each brought to nine
quantiles (of its own, or by a table of its errors on rows it had not seen) -> weights by what members
missed in the last weeks -> each quantile moved by what was missed in the same part of the day and of the
horizon -> sorted -> bounded as the class says.

How a class gets its own: ``SETTINGS[class]`` names blocks, members, mode and sizes (``Settings`` explains
each). A block is a function ``(View, scale (S, I, 1)) -> {column: array that broadcasts to (S, I, L)}`` in a
file of its own, and one line in ``BLOCKS``; it reads the past by ``view.value(steps)``,
``view.days_back(days)`` and ``view.mean_before(steps)``, the weather by ``view.weather(name, steps)`` and
``view.weather_mean(name, steps, hours)``, and nothing else. The columns "hour" and "day_type" of the block
``clock`` are what the ridge divides the day by. A class may have a size and bounds of its own
(``_bounds.py``): a roof is measured by its capacity and is exactly 0 at night. ``backtest`` tries a
setting; what it is tried on ends with the training span. ``train`` makes a ``Trained`` that is asked at any
later moment (``Trained.forecast``) and kept as bytes (``to_bytes``, ``from_bytes``).

Weather that was learnt from may be missing later: it was not delivered, ends before the horizon does, or
comes late. Members that lost their weather would keep bands that are too narrow, so ``train`` makes a second
model of the same rows without weather (``Trained.blind``). It answers for the steps that lack a column
(``Trained.blind_steps`` says which), and so does a second roll in ``backtest``.

A series that was not learnt from, or has just begun, is forecast too. With siblings enough, ``train`` makes a
twin (``Trained.young``) of the same rows with all but the last hours or days of each series taken away; it
answers for series of which few days are known, none included, in the size that their attributes, the class
and their own hours let expect.
"""

from gridflock.forecast.learned._blocks import BLOCKS
from gridflock.forecast.learned._bytes import NotTrained, from_bytes, to_bytes
from gridflock.forecast.learned._rolling import Trial, backtest
from gridflock.forecast.learned._settings import SETTINGS, Settings
from gridflock.forecast.learned._trained import Trained
from gridflock.forecast.learned._training import train
from gridflock.forecast.learned._view import View

__all__ = [
    "BLOCKS",
    "SETTINGS",
    "NotTrained",
    "Settings",
    "Trained",
    "Trial",
    "View",
    "backtest",
    "from_bytes",
    "to_bytes",
    "train",
]
