"""One plan for very many deciders: prices go down, profiles come up, and the gap is proven.

A ``Problem`` couples groups by limits; an ``Oracle`` answers prices for its groups exactly or within a
stated epsilon (``Stores``, ``Vehicles``, or a system below). The ``Coordinator`` climbs the bound and then
mixes answers into a plan; ``recover`` turns its weights into every device's schedule.
"""

from gridflock.plan.coordination._coordinator import Coordinator, Plan
from gridflock.plan.coordination._first import answered, first_duals
from gridflock.plan.coordination._oracle import Answer, Oracle, Question
from gridflock.plan.coordination._problem import Limits, Problem
from gridflock.plan.coordination._recover import recover
from gridflock.plan.coordination._store import Stores
from gridflock.plan.coordination._vehicle import Vehicles

__all__ = [
    "Answer",
    "Coordinator",
    "Limits",
    "Oracle",
    "Plan",
    "Problem",
    "Question",
    "Stores",
    "Vehicles",
    "answered",
    "first_duals",
    "recover",
]
