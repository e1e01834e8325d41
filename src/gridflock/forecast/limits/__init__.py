"""Constraints before they happen: joint paths through the power flow, limit by limit.

``emerging`` solves every step of every path in lanes and says of each node and conductor how likely it leaves
its limits, when, by how much, how many kW would prevent it, and which resources have them. ``Placed`` is how
the paths of series reach the network.
"""

from gridflock.forecast.limits._emerging import Emerging, Helper, emerging
from gridflock.forecast.limits._placed import Placed

__all__ = ["Emerging", "Helper", "Placed", "emerging"]
