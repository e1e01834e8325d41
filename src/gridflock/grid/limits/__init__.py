"""What a network must keep, where it does not, who causes it and who could help.

``violations`` finds what a flow breaks of its ``Limits``; ``series_violations`` does it for a
series of voltages. ``attribute`` says of each violation what every resource adds to it and how far
it could relieve it, from the exact derivatives of ``grid.linearise``. ``head_envelope`` is the room
left at the feeder head.
"""

from gridflock.grid.limits._attribution import Attribution, Resources, attribute
from gridflock.grid.limits._head import head_envelope
from gridflock.grid.limits._terminals import conductor_ratings
from gridflock.grid.limits._violations import LimitKind, Limits, Violations, series_violations, violations

__all__ = [
    "Attribution",
    "LimitKind",
    "Limits",
    "Resources",
    "Violations",
    "attribute",
    "conductor_ratings",
    "head_envelope",
    "series_violations",
    "violations",
]
