"""The utility server's state and rules: who may speak, what they see, what becomes of what they send.

No I/O, no clock, no threads. ``UtilityServer`` answers a request, passes time, does an operator's verb; each
returns what it changed. A ``Change`` is a small frozen value that alters the ``State`` when it happens and
again when the journal is read, so a restarted server is where the stopped one was.

::

    _serving.py      the three verbs          _registry.py  clients and devices
    _routes.py       address to handler       _state.py     everything that must not be lost
    _ownership.py    who may touch what       _turn.py      one go: changes and what they touch
    _paging.py       lists, kept bytes        _journal.py   changes and state as JSON, and back

Each function set has a file: addresses, changes, what clients do, what the operator does.
"""

from gridflock.field.ieee2030_5.server._journal import Journal
from gridflock.field.ieee2030_5.server._policy import Policy
from gridflock.field.ieee2030_5.server._registry import Access, By
from gridflock.field.ieee2030_5.server._serving import CHANGES, Due, UtilityServer
from gridflock.field.ieee2030_5.server._state import Assignment, State
from gridflock.field.ieee2030_5.server._turn import Change

__all__ = [
    "CHANGES",
    "Access",
    "Assignment",
    "By",
    "Change",
    "Due",
    "Journal",
    "Policy",
    "State",
    "UtilityServer",
]
