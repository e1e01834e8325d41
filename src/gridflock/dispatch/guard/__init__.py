"""The guard: the last look before the wire, independent of whoever planned.

It knows nameplates, signs, what people have set, and what went out before; it knows nothing of goals
or prices, and whatever the planner, an account or a market asks for, it holds. Sandia's report on the
blast radius of remotely commanded DER (SAND2018-4532J) asks for such engineered limits. Its state is
one frozen value, handed in and returned, so that a tick can be replayed and a restart can rebuild it.
"""

from gridflock.dispatch.guard._asked import Asked
from gridflock.dispatch.guard._curve import CurveBounds
from gridflock.dispatch.guard._guard import Passed, guard, revocation
from gridflock.dispatch.guard._held import Held, Mode
from gridflock.dispatch.guard._limits import GroupLimit, GuardLimits
from gridflock.dispatch.guard._rules import Approval, Rules
from gridflock.dispatch.guard._state import GuardState

__all__ = [
    "Approval",
    "Asked",
    "CurveBounds",
    "GroupLimit",
    "GuardLimits",
    "GuardState",
    "Held",
    "Mode",
    "Passed",
    "Rules",
    "guard",
    "revocation",
]
