"""Virtual DERs: groups of resources and of groups, each with the face of one resource.

A device may count in many groups, and counts once in each. ``Groups`` holds who belongs where and sums
any column upwards; it follows registry and topology by ``Rule`` and ``Zones`` and tells the ``Changes``.
``group_status`` is what a group shows of itself. Where overlapping groups have orders, ``parted`` and
``shared_orders`` make them orders on parts that share no resource.
"""

from gridflock.fleet.groups._follow import Changes
from gridflock.fleet.groups._groups import Groups
from gridflock.fleet.groups._levels import ByRow, Zones
from gridflock.fleet.groups._overlap import parted, shared_orders
from gridflock.fleet.groups._places import Place, PlaceRejected
from gridflock.fleet.groups._rules import Rule
from gridflock.fleet.groups._status import GroupStatus, group_status
from gridflock.fleet.groups._structure import Version

__all__ = [
    "ByRow",
    "Changes",
    "GroupStatus",
    "Groups",
    "Place",
    "PlaceRejected",
    "Rule",
    "Version",
    "Zones",
    "group_status",
    "parted",
    "shared_orders",
]
