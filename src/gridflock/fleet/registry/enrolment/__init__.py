"""The life of a resource with the utility, from application to retirement.

``move`` brings many resources into another state by the moves that are legal, under the rules of their
programmes; ``replace`` lets a new device take the place of an old one, and ``unite`` makes one of two
records of one device. All three are functions of a registry and give a new one, the events that were, and
what was refused; ``Lives`` remembers the events and knows who took whose place.
"""

from gridflock.fleet.registry.enrolment._lives import Link, Lives
from gridflock.fleet.registry.enrolment._moves import LEGAL, Act, Moved, Moves, move
from gridflock.fleet.registry.enrolment._programs import ProgramRules
from gridflock.fleet.registry.enrolment._succession import Succession, replace, unite

__all__ = [
    "LEGAL",
    "Act",
    "Link",
    "Lives",
    "Moved",
    "Moves",
    "ProgramRules",
    "Succession",
    "move",
    "replace",
    "unite",
]
