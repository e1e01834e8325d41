"""OpenDSS: its feeder files read, our networks written as its commands, its solver as referee and rival.

``script`` needs nothing installed. ``read_dss`` (a file's parts), ``reference`` (its own solution of a
file), ``Daily`` and ``Referee`` need the extra ``gridflock[opendss]``; ``available`` says whether it is
there, and without it they raise ``OpenDssMissing``. What OpenDSS does not solve is ``NotConverged``,
absent (NaN) in a series, or said in ``Reference.converged``.
"""

from gridflock.field.opendss._check import Reference, reference
from gridflock.field.opendss._daily import Daily
from gridflock.field.opendss._import import read_dss
from gridflock.field.opendss._referee import NotConverged, OpenDssMissing, Referee, available
from gridflock.field.opendss._script import script
from gridflock.field.opendss._shapes import Shapes

__all__ = [
    "Daily",
    "NotConverged",
    "OpenDssMissing",
    "Referee",
    "Reference",
    "Shapes",
    "available",
    "read_dss",
    "reference",
    "script",
]
