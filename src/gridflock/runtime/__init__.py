"""The life of the system: wiring, ticks, authority, and the façade that everybody uses.

``rehearse`` joins a data folder and a simulated world into a ``Derms``; its verbs serve Python,
REST, the command line and the console alike. ``simulate`` lives a day twice, unmanaged and
managed, and compares. ``replay`` lives a folder's past again. The runtime alone carries arrays
between the stages and does all waiting and sending.
"""

from gridflock.runtime._access import LOCAL, AccessDenied, Role, Scope, Users
from gridflock.runtime._ahead import Ahead, plan_ahead
from gridflock.runtime._derms import Derms
from gridflock.runtime._goals import read_goals
from gridflock.runtime._guard_limits import read_limits
from gridflock.runtime._life import UnknownName
from gridflock.runtime._open import FolderMismatch, Rehearsal, rehearse
from gridflock.runtime._registry import FileRejected, read_rows
from gridflock.runtime._replay import replay
from gridflock.runtime._requests import ProposalRejected, RequestRejected
from gridflock.runtime._retrace import NotReplayable
from gridflock.runtime._settings import Settings
from gridflock.runtime._show import plain
from gridflock.runtime._study import Account, Study, simulate
from gridflock.runtime._system import System

__all__ = [
    "LOCAL",
    "AccessDenied",
    "Account",
    "Ahead",
    "Derms",
    "FileRejected",
    "FolderMismatch",
    "NotReplayable",
    "ProposalRejected",
    "Rehearsal",
    "RequestRejected",
    "Role",
    "Scope",
    "Settings",
    "Study",
    "System",
    "UnknownName",
    "Users",
    "plain",
    "plan_ahead",
    "read_goals",
    "read_limits",
    "read_rows",
    "rehearse",
    "replay",
    "simulate",
]
