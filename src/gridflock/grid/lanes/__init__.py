"""Many power flows of one feeder side by side, one scenario per vector lane."""

from gridflock.grid.lanes._circuit import Circuit, Laws

__all__ = ["Circuit", "Laws"]
