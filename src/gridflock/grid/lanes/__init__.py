"""Many power flows of one feeder side by side, one scenario per vector lane."""

from gridflock.grid.lanes._circuit import Circuit, Laws
from gridflock.grid.lanes._lanes import LaneFlows, Lanes, Shaped, States, Wanted

__all__ = ["Circuit", "LaneFlows", "Lanes", "Laws", "Shaped", "States", "Wanted"]
