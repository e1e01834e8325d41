"""One target for many: the way downwards, the pair of adding up.

``split`` shares a group's order among its members family by family; what is missing is named by
cause. The kernels stand by themselves, each for a million rows: ``Limits`` fold all that limits a row
into one range; ``proportional``, ``fair`` and ``merit`` share a sum, ``balance`` and ``sustain`` among
stores, ``in_steps`` among devices with levels, ``Rotation`` by turns; ``fair_groups`` serves many
groups at once. The room ``switching`` has the priority stack of on/off loads.
"""

from gridflock.fleet.sharing._fold import Limits
from gridflock.fleet.sharing._horizon import balance, sustain
from gridflock.fleet.sharing._merit import merit
from gridflock.fleet.sharing._rotation import Rotation
from gridflock.fleet.sharing._split import Split, split
from gridflock.fleet.sharing._steps import in_steps
from gridflock.fleet.sharing._together import fair_groups
from gridflock.fleet.sharing._water import fair, proportional

__all__ = [
    "Limits",
    "Rotation",
    "Split",
    "balance",
    "fair",
    "fair_groups",
    "in_steps",
    "merit",
    "proportional",
    "split",
    "sustain",
]
