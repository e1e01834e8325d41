"""What single deciders do at a price: each kind of device as an exact answer.

An ``Oracle`` answers a ``Question`` (prices for its groups) with an ``Answer`` (their sums, own cost and how
inexact that is), and gives every member's schedule afterwards. ``Stores`` are batteries and vehicles that
may give back, ``Vehicles`` only charge; ``Bands`` are rows of ``model.Flexibility`` of any kind, and answer
proximal questions too.
"""

from gridflock.plan.devices._band import Bands
from gridflock.plan.devices._disc import onto_disc, room_kvar
from gridflock.plan.devices._oracle import Answer, Oracle, Question, joined
from gridflock.plan.devices._source import Sources
from gridflock.plan.devices._store import Stores
from gridflock.plan.devices._unit import Units
from gridflock.plan.devices._vehicle import Vehicles

__all__ = [
    "Answer",
    "Bands",
    "Oracle",
    "Question",
    "Sources",
    "Stores",
    "Units",
    "Vehicles",
    "joined",
    "onto_disc",
    "room_kvar",
]
