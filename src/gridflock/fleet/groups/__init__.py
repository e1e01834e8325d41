"""Virtual DERs: groups of resources and of groups, each with the face of one resource.

A device may count in many groups, and counts once in each. ``Groups`` holds who belongs where and sums
any column upwards; ``group_status`` is what a group shows of itself.
"""

from gridflock.fleet.groups._groups import Groups
from gridflock.fleet.groups._status import GroupStatus, group_status

__all__ = ["GroupStatus", "Groups", "group_status"]
