"""Goals as values: each compiles into terms of the one problem and can be read off its schedule.

``gridflock.plan.goals.money`` holds goals that are prices, ``bounds`` those that are rows and tightened
bands, ``fairness`` shares and the ledger. ``weigh`` compiles them; a plain sequence of goals is weighted
by their own prices, ``Ranked`` puts each above the next, by price tiers or by solving in turn.
``pursue`` plans and says how far it got with each.
"""

from gridflock.plan.goals._part import Goal, Members, Part, Reading, Setting
from gridflock.plan.goals._pursue import Pursued, Reached, pursue, shown
from gridflock.plan.goals._weigh import Ranked, Weighed, weigh

__all__ = [
    "Goal",
    "Members",
    "Part",
    "Pursued",
    "Ranked",
    "Reached",
    "Reading",
    "Setting",
    "Weighed",
    "pursue",
    "shown",
    "weigh",
]
