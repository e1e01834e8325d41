"""OpenDSS: our networks written as its commands, and its solver as an independent referee.

``script`` needs nothing installed. ``Referee`` and ``read_voltages`` need the extra
``gridflock[opendss]``; ``available`` says whether it is there, and without it they raise
``OpenDssMissing``.
"""

from gridflock.field.opendss._referee import OpenDssMissing, Referee, available, read_voltages
from gridflock.field.opendss._script import script

__all__ = ["OpenDssMissing", "Referee", "available", "read_voltages", "script"]
