"""Plans for a future that is not known: limits with room for error, and a fan of paths in one.

``futures`` are joint paths of a forecast as plans take them. ``backed_off`` lowers limits until they break
as seldom as wanted, or names those that cannot; ``fanned`` puts some paths into the same
problem, with the first steps in common. ``violations`` tells what a schedule comes to on unseen paths.
"""

from gridflock.plan.scenario._backoff import BackedOff, backed_off
from gridflock.plan.scenario._fan import Fan, fanned
from gridflock.plan.scenario._paths import Paths, futures
from gridflock.plan.scenario._rate import Violations, violations

__all__ = [
    "BackedOff",
    "Fan",
    "Paths",
    "Violations",
    "backed_off",
    "fanned",
    "futures",
    "violations",
]
