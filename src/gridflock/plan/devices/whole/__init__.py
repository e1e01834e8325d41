"""Devices that come in whole ones: on or off, called or not, never a part of it.

``Units`` (heat and power, gensets) and ``Blocks`` (loads that give up a block at a call) answer prices
exactly on their grids. Their sets are not convex, so a mix of answers is no schedule: ``pick_whole`` chooses
one answer each for the few and large, and says what that costs. The many and small are a ``Population``: the
plan has them as a leaky store each (``leaky_bands``), and ``realise`` switches its loads to follow a plan
and states the error.
"""

from gridflock.plan.devices.whole._block import Blocks
from gridflock.plan.devices.whole._choice import Picked, pick_whole
from gridflock.plan.devices.whole._population import Population, leaky_bands
from gridflock.plan.devices.whole._realising import Realised, realise
from gridflock.plan.devices.whole._unit import Units

__all__ = [
    "Blocks",
    "Picked",
    "Population",
    "Realised",
    "Units",
    "leaky_bands",
    "pick_whole",
    "realise",
]
