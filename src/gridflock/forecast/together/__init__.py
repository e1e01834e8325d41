"""Forecasts that agree: sums add up, and bad luck is shared.

``Coherence`` makes the forecasts of members and of the groups over them add up, moving each by what its
past errors say of it (``shrunk`` is how those errors are believed); what adds up are means, which
``expected`` takes from quantiles. ``leaning`` says how far groups are believed against their members, by what
either way has missed. ``shared_ranks`` keeps who erred with whom; ``joint`` turns forecasts and
such ranks into paths of all series at once, ``paths`` does the same where days are too few for that.
``chance_beyond`` says how likely such paths break a limit, and when.
"""

from gridflock.forecast.together._chance import Beyond, chance_beyond
from gridflock.forecast.together._coherence import Coherence
from gridflock.forecast.together._copula import Dependence, dependence_of, paths
from gridflock.forecast.together._joint import joint, shared_ranks
from gridflock.forecast.together._leaning import leaning
from gridflock.forecast.together._lines import expected
from gridflock.forecast.together._shrink import shrunk

__all__ = [
    "Beyond",
    "Coherence",
    "Dependence",
    "chance_beyond",
    "dependence_of",
    "expected",
    "joint",
    "leaning",
    "paths",
    "shared_ranks",
    "shrunk",
]
