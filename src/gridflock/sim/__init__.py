"""A world for the DERMS to live in: a true feeder, its devices, its weather and its people.

``World(Scenario(...))`` is one day that speaks the same port as the field does: ``advance`` lets
time pass, ``read`` says what meters say, ``send`` takes orders and ``outcomes`` brings back what
became of them. The truth differs from the register on purpose (impedances, phases, demand that
nobody meters, silent devices), and ``World.tally`` counts it where no meter can err. ``docs/world.md``
tells what is simulated, with which figures.

Randomness is drawn per purpose and calendar day and never depends on orders: the unmanaged twin
of a day has the same clouds, journeys and showers.
"""

from gridflock.sim._scenario import Scenario, UnknownFeeder, feeder_document
from gridflock.sim._tally import Tally
from gridflock.sim._world import World

__all__ = ["Scenario", "Tally", "UnknownFeeder", "World", "feeder_document"]
