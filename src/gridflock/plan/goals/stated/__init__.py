"""Goals as people state them: a document read with every fault named, due in a rolling plan of devices.

``read`` makes ``Stated`` of a document (JSON as values); ``Stated.due`` gives its goals over one horizon.
``sought`` joins goals to the terms and the members of a plan of devices, and says afterwards how far it got
with each.
"""

from gridflock.plan.goals.stated._document import read
from gridflock.plan.goals.stated._sought import DEMAND, MONEY, Sought, sought
from gridflock.plan.goals.stated._stated import Profile, Stated, StatedGoal

__all__ = ["DEMAND", "MONEY", "Profile", "Sought", "Stated", "StatedGoal", "read", "sought"]
