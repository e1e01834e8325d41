"""Virtual DERs: groups of resources and of groups, each with the face of one resource.

A device may count in many groups, and counts once in each. ``Groups`` holds who belongs where and sums
any column upwards; ``group_status`` is what a group shows of itself.
"""

from gridflock.fleet.groups._follow import Cause, Changes
from gridflock.fleet.groups._groups import Groups
from gridflock.fleet.groups._levels import ByAttribute, ByRow, Zones
from gridflock.fleet.groups._places import Place, PlaceRejected
from gridflock.fleet.groups._rules import Rule
from gridflock.fleet.groups._status import GroupStatus, group_status
from gridflock.fleet.groups._structure import Version

__all__ = [
    "ByAttribute",
    "ByRow",
    "Cause",
    "Changes",
    "GroupStatus",
    "Groups",
    "Place",
    "PlaceRejected",
    "Rule",
    "Version",
    "Zones",
    "group_status",
]
