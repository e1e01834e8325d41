"""A day inside one feeder: what its devices do so that every voltage and current keeps its limits in AC.

A ``Feeder`` is a network with a port for every place where devices stand, and the day's loads. ``limits``
says what is to be kept, ``judged`` whether a day keeps it, at every node, conductor and step.
``dispatch_plan`` finds what ``Devices`` do at given prices: devices and network take turns until they agree,
anchored in exact AC, and what is left is repaired. The ``NetworkPlan`` carries its verdict, bounds, prices by
place and the limits behind them.
"""

from gridflock.plan.network._dispatch import How, NetworkPlan, Progress, day_limits, dispatch_plan
from gridflock.plan.network._feeder import Feeder, feeder
from gridflock.plan.network._hold import Held, hold
from gridflock.plan.network._loop import Settings
from gridflock.plan.network._refused import DayRejected, Devices
from gridflock.plan.network._repair import Round
from gridflock.plan.network._verdict import Limits, Policy, Verdict, judged, limits

__all__ = [
    "DayRejected",
    "Devices",
    "Feeder",
    "Held",
    "How",
    "Limits",
    "NetworkPlan",
    "Policy",
    "Progress",
    "Round",
    "Settings",
    "Verdict",
    "day_limits",
    "dispatch_plan",
    "feeder",
    "hold",
    "judged",
    "limits",
]
