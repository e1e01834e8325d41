"""How a network changes while it is in use: switching, outages, taps, elements that come and go.

``apply`` makes a new immutable version; the old one stays valid, and what cannot be done is refused
with every reason (``ChangeRejected``). ``follow`` carries the state of the controls over,
``consequences`` says in words who lost supply or moved. What hangs together then, and on what,
``grid.islands`` tells.
"""

from gridflock.grid.change._apply import apply, consequences, follow
from gridflock.grid.change._kinds import (
    AddElement,
    ChangeRejected,
    CloseSwitch,
    FreeTap,
    LockTap,
    OpenSwitch,
    Outage,
    RemoveElement,
    Restore,
)

__all__ = [
    "AddElement",
    "ChangeRejected",
    "CloseSwitch",
    "FreeTap",
    "LockTap",
    "OpenSwitch",
    "Outage",
    "RemoveElement",
    "Restore",
    "apply",
    "consequences",
    "follow",
]
