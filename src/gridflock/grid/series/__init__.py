"""A network through time: its regulators, capacitors and inverters acting at every step.

``Steps`` say what happens; ``step_by_step`` is the simple engine, ``in_lanes`` the fast one with the
same answer (``Series``). ``Inverters`` stand at ports and follow the ``Curves`` of IEEE 1547-2018;
``fitted`` puts new ones into a network, ``Acting`` solves single flows with them.
"""

from gridflock.grid.series._curves import Category, Curves, Priority, ReactiveMode, respond
from gridflock.grid.series._in_lanes import in_lanes
from gridflock.grid.series._inverters import Acting, Inverters, fitted
from gridflock.grid.series._steps import Series, Steps, step_by_step

__all__ = [
    "Acting",
    "Category",
    "Curves",
    "Inverters",
    "Priority",
    "ReactiveMode",
    "Series",
    "Steps",
    "fitted",
    "in_lanes",
    "respond",
    "step_by_step",
]
