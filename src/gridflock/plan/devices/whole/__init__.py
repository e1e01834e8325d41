"""Devices that come in whole ones: on or off, called or not, never a part of it.

``Units`` (heat and power, gensets) and ``Blocks`` (loads that give up a block at a call) answer prices
exactly on their grids. Their sets are not convex, so a mix of answers is no schedule: ``pick_whole`` chooses
one answer each for the few and large, and says what that costs.
"""

from gridflock.plan.devices.whole._block import Blocks
from gridflock.plan.devices.whole._choice import Picked, pick_whole
from gridflock.plan.devices.whole._unit import Units

__all__ = ["Blocks", "Picked", "Units", "pick_whole"]
