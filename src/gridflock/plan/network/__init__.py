"""A day inside one feeder: what its devices do so that every voltage and current keeps its limits in AC.

A ``Feeder`` is a network with a port for every place where devices stand, and the day's loads; ``day_limits``
says what is to be kept at every node, conductor and step, with a ``Policy`` for what loads alone break.
``dispatch_plan`` finds what ``Devices`` do at given prices: devices and network take turns until they agree,
anchored in exact AC, and what is left is repaired. The ``NetworkPlan`` carries its verdict, bounds, prices by
place and the limits behind them. Regulators and capacitors stand still, or take part (``How.taps``).
``hold`` keeps a plan made elsewhere inside the same limits.
"""

from gridflock.plan.network._dispatch import How, NetworkPlan, day_limits, dispatch_plan
from gridflock.plan.network._feeder import Feeder, feeder
from gridflock.plan.network._hold import Held, hold
from gridflock.plan.network._refused import DayRejected, Devices
from gridflock.plan.network._repair import Round
from gridflock.plan.network._verdict import Policy

__all__ = [
    "DayRejected",
    "Devices",
    "Feeder",
    "Held",
    "How",
    "NetworkPlan",
    "Policy",
    "Round",
    "day_limits",
    "dispatch_plan",
    "feeder",
    "hold",
]
