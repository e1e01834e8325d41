"""A day inside one feeder: what its devices do so that every voltage and current keeps its limits in AC.

A ``Feeder`` is a network with a port for every place where devices stand, and the day's loads. ``limits``
says what is to be kept, ``judged`` whether a day keeps it, at every node, conductor and step.
"""

from gridflock.plan.network._feeder import Feeder, feeder
from gridflock.plan.network._verdict import Limits, Policy, Verdict, judged, limits

__all__ = ["Feeder", "Limits", "Policy", "Verdict", "feeder", "judged", "limits"]
