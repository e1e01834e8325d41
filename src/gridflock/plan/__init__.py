"""What should be: one optimisation over all devices, and the reason of every number.

``Terms`` holds the goals (prices, demand charge, limits and what breaking each costs); ``plan``
turns them, with the groups' flexibility and the expected fixed power, into a ``Schedule``; ``planned``
does so device by device, very many of them by prices, with a proven bound.
There is always a schedule: every limit has a named slack. ``check`` names bad input. ``grounded`` plans
and keeps the prices behind the plan, of which ``explain`` says why a set-point is what it is.
"""

from gridflock.plan._by_device import Members
from gridflock.plan._check import check
from gridflock.plan._coupling import in_cells
from gridflock.plan._explain import Explained, explain
from gridflock.plan._grounds import Grounds, packed, unpacked
from gridflock.plan._members import Planned, Prices, moved_to, planned
from gridflock.plan._plan import grounded, plan
from gridflock.plan._terms import Terms

__all__ = [
    "Explained",
    "Grounds",
    "Members",
    "Planned",
    "Prices",
    "Terms",
    "check",
    "explain",
    "grounded",
    "in_cells",
    "moved_to",
    "packed",
    "plan",
    "planned",
    "unpacked",
]
