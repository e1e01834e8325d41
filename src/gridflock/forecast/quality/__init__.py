"""The gate in front of every model: what is wrong with the data, and what is mended.

``gathered`` lays stamps and columns as they came on one grid, ``with_light`` puts a weather's irradiance
beside them. ``examine`` finds faults by itself, series by
series: units, signs, names, clocks beside the sun or beside each other, standstill, levels. ``repaired``
mends what the evidence settles and leaves the rest named. ``check`` does all three. ``unheard`` tells what
is missing in columns that nothing else is asked of.
"""

from gridflock.forecast.quality._examine import Examination, check, examine, unheard
from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.forecast.quality._gather import gathered, with_light
from gridflock.forecast.quality._repair import Repaired, repaired

__all__ = [
    "Examination",
    "Finding",
    "Kind",
    "Repair",
    "Repaired",
    "Rule",
    "check",
    "examine",
    "gathered",
    "repaired",
    "unheard",
    "with_light",
]
