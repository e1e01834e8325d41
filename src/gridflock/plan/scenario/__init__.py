"""Plans for a future that is not known: joint paths, limits with room for error, and a fan of paths in one.

``paths`` draws from a forecast's quantiles, ``futures`` hands them to plans. ``backed_off`` lowers limits
until they break as seldom as wanted, or names those that cannot; ``fanned`` puts some paths into the same
problem, with the first steps in common. ``violations`` tells what a schedule comes to on unseen paths.
"""

from gridflock.plan.scenario._backoff import BackedOff, backed_off
from gridflock.plan.scenario._fan import Fan, fanned
from gridflock.plan.scenario._paths import Dependence, Paths, dependence_of, futures, paths
from gridflock.plan.scenario._rate import Violations, violations

__all__ = [
    "BackedOff",
    "Dependence",
    "Fan",
    "Paths",
    "Violations",
    "backed_off",
    "dependence_of",
    "fanned",
    "futures",
    "paths",
    "violations",
]
