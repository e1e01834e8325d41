"""Who gives way, and for how long the same ones: fair shares, a ledger, a bound on calls.

``FairShare`` is a concave worth of each participant's granted share; alpha says how concave. ``Ledger``
remembers who was curtailed and weighs tomorrow's shares. ``side_by_side`` shows what fairness costs.
"""

from gridflock.plan.goals.fairness._calls import CallBound
from gridflock.plan.goals.fairness._compare import Policy, price_of_fairness, side_by_side
from gridflock.plan.goals.fairness._ledger import Ledger, gini, jain
from gridflock.plan.goals.fairness._share import FairShare, utility

__all__ = [
    "CallBound",
    "FairShare",
    "Ledger",
    "Policy",
    "gini",
    "jain",
    "price_of_fairness",
    "side_by_side",
    "utility",
]
