"""Goals that are a bound: limits, ramps, shapes to follow, events, what stores must hold, voltage."""

from gridflock.plan.goals.bounds._event import Event, Stage, answered
from gridflock.plan.goals.bounds._limit import LoadShape, PowerLimit, RampLimit
from gridflock.plan.goals.bounds._store import Departures, Need, Reserve
from gridflock.plan.goals.bounds._voltage import VoltageReduction, VoltageWish

__all__ = [
    "Departures",
    "Event",
    "LoadShape",
    "Need",
    "PowerLimit",
    "RampLimit",
    "Reserve",
    "Stage",
    "VoltageReduction",
    "VoltageWish",
    "answered",
]
