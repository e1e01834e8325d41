"""When wishes clash: which ones, in words, and what relaxing each of them would cost.

The plan always exists, because limits give way at a price. ``conflicts`` says why they had to: sets of
wishes that cannot all hold, none of which can be left out of its set.
"""

from gridflock.plan.conflict._conflict import Conflict, Member, conflicts

__all__ = ["Conflict", "Member", "conflicts"]
