"""What is wrong with the data of a fleet: findings with their reason and what to do about each.

``examine`` looks at nameplates, places and names, at the present readings, and, where a ``Trace`` of
readings over time is at hand, at signs, standstills, and voltages that go with another phase or another
transformer than the registered one. It changes nothing. ``RULES`` lists all that it knows, and what could
not be looked at is named with the reason.
"""

from gridflock.fleet.doctor._evidence import Facts, Thresholds, Trace
from gridflock.fleet.doctor._examine import Examination, examine
from gridflock.fleet.doctor._rules import RULES, Finding, Rule, Severity

__all__ = [
    "RULES",
    "Examination",
    "Facts",
    "Finding",
    "Rule",
    "Severity",
    "Thresholds",
    "Trace",
    "examine",
]
