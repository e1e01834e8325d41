"""State of the network: what the feeder is, how power flows on it, and what its limits leave.

A ``Network`` is one immutable version of a network as arrays, made by ``grid.build`` and changed by
``grid.change``. ``solve`` finds the three-phase unbalanced operating point of given loads and
injections and returns a ``Flow`` that knows its own residual; a ``Batch`` solves thousands around
one point. ``initial``, ``act`` and ``settle`` move the feeder's own regulators and capacitors
(``ControlState``); ``grid.series`` runs them through time. ``allocate`` turns the newest readings
into a flow, ``grid.estimation`` weighs late and wrong ones. ``violations`` and ``head_envelope`` say
what the limits make of a flow (more in ``grid.limits``), ``linearise`` gives its exact derivatives,
``voltage_envelopes`` what an area may inject before a node leaves its band.
"""

from gridflock.grid._allocation import Allocation, allocate
from gridflock.grid._batch import Batch, Flows, Shaped
from gridflock.grid._controls import act, settle
from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import CapacitorMode, Network, PortKind
from gridflock.grid._sensitivity import Linearisation, linearise
from gridflock.grid._state import ControlState, initial
from gridflock.grid._support import Area, voltage_envelopes
from gridflock.grid.limits import LimitKind, Violations, head_envelope, violations

__all__ = [
    "Allocation",
    "Area",
    "Batch",
    "CapacitorMode",
    "ControlState",
    "Flow",
    "Flows",
    "LimitKind",
    "Linearisation",
    "Network",
    "PortKind",
    "Shaped",
    "Violations",
    "act",
    "allocate",
    "head_envelope",
    "initial",
    "linearise",
    "settle",
    "solve",
    "violations",
    "voltage_envelopes",
]
