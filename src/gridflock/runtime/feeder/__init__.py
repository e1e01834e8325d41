"""Work on feeder files: read, look, check, solve, run through time, estimate.

``read`` turns an OpenDSS master, a CIM file, our own document or a saved network into a
``Network``, or says with file, line and element why not (``FeederUnreadable``). The other verbs
take that network and give values that a table, a plot or JSON can show. They need no running
system and write nothing but what they are told to.
"""

from gridflock.runtime.feeder._check import Checked, check
from gridflock.runtime.feeder._estimate import Estimated, estimate, node_rows
from gridflock.runtime.feeder._info import FeederInfo, info
from gridflock.runtime.feeder._read import FeederUnreadable, collection, read, read_with_shapes, save
from gridflock.runtime.feeder._series import Course, course
from gridflock.runtime.feeder._solve import Solved, solve_once
from gridflock.runtime.feeder._violations import BrokenLimit, broken_limits

__all__ = [
    "BrokenLimit",
    "Checked",
    "Course",
    "Estimated",
    "FeederInfo",
    "FeederUnreadable",
    "Solved",
    "broken_limits",
    "check",
    "collection",
    "course",
    "estimate",
    "info",
    "node_rows",
    "read",
    "read_with_shapes",
    "save",
    "solve_once",
]
