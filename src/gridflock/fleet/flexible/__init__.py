"""What resources and groups can do over a horizon.

A ``FlexibilitySet`` is a promise: every trajectory in it can be divided among the members, each within
its own limits. Members are chains, whose energy moves in a line, or blocks, on/off loads that switch
in turns; the group is their Minkowski sum. Two compiled answers to a price per step carry all of it:
the schedules that earn most (``_vertex.py``), which are the corners of the set, and those that earn most
when straying costs (``_nearest.py``), which move smoothly and so can be steered to any trajectory
(``_divide.py``). Losses, ramps and minimum times come in by models that never promise more than the
device can do (``_members.py``, ``_lossy.py``, ``_blocks.py``).

``flexibility`` is the other, outer form: bands that a plan may use, with no such promise.
"""

from gridflock.fleet.flexible._bands import arrivals_kwh, arriving, flexibility
from gridflock.fleet.flexible._divide import Outside
from gridflock.fleet.flexible._members import Outlook
from gridflock.fleet.flexible._power_plane import PowerPlane, power_plane
from gridflock.fleet.flexible._room import Room
from gridflock.fleet.flexible._set import FlexibilitySet, Schedules, flexibility_set, together

__all__ = [
    "FlexibilitySet",
    "Outlook",
    "Outside",
    "PowerPlane",
    "Room",
    "Schedules",
    "arrivals_kwh",
    "arriving",
    "flexibility",
    "flexibility_set",
    "power_plane",
    "together",
]
