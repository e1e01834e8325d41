"""One plan for very many deciders: prices go down, profiles come up, and the gap is proven.

A ``Problem`` couples groups by limits, ramps and peaks; the oracles of ``plan.devices``, or systems below,
answer prices for their groups exactly or within a stated epsilon. ``coordinate`` goes the whole way: a
``Coordinator`` climbs the bound and mixes answers into a plan, its weights become every device's schedule,
and ``Carried`` moves both on to the next horizon. ``Below`` is a whole system as one oracle.
"""

from gridflock.plan.coordination._below import Below
from gridflock.plan.coordination._coordinate import Coordinated, coordinate
from gridflock.plan.coordination._coordinator import Coordinator
from gridflock.plan.coordination._first import answered
from gridflock.plan.coordination._later import Carried
from gridflock.plan.coordination._plan import Plan, Status
from gridflock.plan.coordination._problem import Limits, Peaks, Problem, Ramps

__all__ = [
    "Below",
    "Carried",
    "Coordinated",
    "Coordinator",
    "Limits",
    "Peaks",
    "Plan",
    "Problem",
    "Ramps",
    "Status",
    "answered",
    "coordinate",
]
