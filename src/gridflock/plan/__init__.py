"""What should be: one linear program over all groups, and the reason of every number.

``Terms`` holds the goals (prices, demand charge, limits and what breaking each costs); ``plan``
turns them, with the groups' flexibility and the expected fixed power, into a ``Schedule``.
There is always a schedule: every limit has a named slack. ``check`` names bad input.
"""

from gridflock.plan._check import check
from gridflock.plan._plan import plan
from gridflock.plan._terms import Terms

__all__ = ["Terms", "check", "plan"]
