"""What single deciders do at a price: each kind of device as an exact answer.

An ``Oracle`` answers a ``Question`` (prices for its groups) with an ``Answer`` (their sums, own cost and how
inexact that is), and gives every member's schedule afterwards. ``Stores`` are batteries and vehicles that
may give back, ``Vehicles`` only charge; ``Bands`` are rows of ``model.Flexibility`` of any kind, and answer
proximal questions too. ``Sources`` are sun and wind, with reactive power inside their inverters' discs
(``room_kvar``, ``onto_disc``); ``Programs`` are linear programs of any other kind. The room ``whole`` has
those that are on or off.
"""

from gridflock.plan.devices._band import Bands
from gridflock.plan.devices._disc import onto_disc, room_kvar
from gridflock.plan.devices._oracle import Answer, Oracle, Question, joined
from gridflock.plan.devices._program import Program, Programs
from gridflock.plan.devices._source import Sources
from gridflock.plan.devices._store import Stores
from gridflock.plan.devices._vehicle import Vehicles

__all__ = [
    "Answer",
    "Bands",
    "Oracle",
    "Program",
    "Programs",
    "Question",
    "Sources",
    "Stores",
    "Vehicles",
    "joined",
    "onto_disc",
    "room_kvar",
]
