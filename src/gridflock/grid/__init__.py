"""State of the network: what the feeder is, how power flows on it, and what its limits leave.

A ``Network`` is one immutable version of a feeder as arrays, built from a document by
``Network.from_document``. ``solve`` finds the three-phase unbalanced operating point of given
loads and injections and returns a ``Flow`` that knows its own residual. ``initial``, ``act`` and
``settle`` move the feeder's own regulators and capacitors (``ControlState``).
"""

from gridflock.grid._controls import act, settle
from gridflock.grid._document import FeederRejected
from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import Network
from gridflock.grid._state import ControlState, initial

__all__ = ["ControlState", "FeederRejected", "Flow", "Network", "act", "initial", "settle", "solve"]
