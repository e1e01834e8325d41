"""What we order now.

Every fast tick is one call of ``step``: wishes in force (operators, events, the plan's present
step) and grid envelopes are arbitrated into one target per resource; the guard, which knows
nothing of goals, judges the candidate orders; what passes goes out with an expiry and a default.
Outcomes come back through ``Response``: who refused, fell silent, or says yes and does nothing rests,
and what is missing is split over the willing in the next tick. All that a tick leaves to the next is a
value: ``Response`` (with what is learnt of who responds), ``GuardState`` and ``feedback.Feedback``.
"""

from gridflock.dispatch._arbitrate import Grant, arbitrate
from gridflock.dispatch._response import Patience, Response
from gridflock.dispatch._step import Decision, Policy, step
from gridflock.dispatch.guard import GuardLimits, GuardState, Rules, guard

__all__ = [
    "Decision",
    "Grant",
    "GuardLimits",
    "GuardState",
    "Patience",
    "Policy",
    "Response",
    "Rules",
    "arbitrate",
    "guard",
    "step",
]
