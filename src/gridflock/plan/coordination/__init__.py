"""One plan for very many deciders: prices go down, profiles come up, and the gap is proven.

A ``Problem`` couples groups by limits; the oracles of ``plan.devices``, or systems below, answer
prices for their groups exactly or within a stated epsilon. The ``Coordinator`` climbs the bound and then
mixes answers into a plan; ``recover`` turns its weights into every device's schedule.
"""

from gridflock.plan.coordination._coordinator import Coordinator, Plan
from gridflock.plan.coordination._first import answered, first_duals
from gridflock.plan.coordination._problem import Limits, Problem
from gridflock.plan.coordination._recover import recover

__all__ = [
    "Coordinator",
    "Limits",
    "Plan",
    "Problem",
    "answered",
    "first_duals",
    "recover",
]
