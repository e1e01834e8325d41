"""How a network comes to be: parts, checked one by one, assembled into arrays.

A reader (our own document here; OpenDSS and CIM files in ``field``) makes ``Parts``; ``assemble``
refuses what contradicts itself, with every fault found, or gives a ``Network``. ``Winding`` and
``transformer_block`` make the primitive admittance of any transformer from its nameplate.
"""

from gridflock.grid.build._assemble import assemble
from gridflock.grid.build._document import Faults, FeederRejected
from gridflock.grid.build._parts import (
    Branch,
    Bus,
    Capacitor,
    End,
    Parts,
    Port,
    Regulator,
    Section,
    Shunt,
    Source,
)
from gridflock.grid.build._reading import from_document
from gridflock.grid.build._windings import Winding, transformer_block

__all__ = [
    "Branch",
    "Bus",
    "Capacitor",
    "End",
    "Faults",
    "FeederRejected",
    "Parts",
    "Port",
    "Regulator",
    "Section",
    "Shunt",
    "Source",
    "Winding",
    "assemble",
    "from_document",
    "transformer_block",
]
