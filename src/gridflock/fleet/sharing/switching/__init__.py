"""Very many on/off loads as one that can be set to any level.

``Stack`` is their state; each of its steps hears them and says which few must switch so that their
sum meets a target, with no minimum time cut short and nobody kept out of its comfort. ``Tracker``
makes the sum follow a signal although orders get lost and loads drift. ``switchable``, ``stack_of``
and ``hear`` take both out of the process image.
"""

from gridflock.fleet.sharing.switching._hearing import hear, stack_of, switchable
from gridflock.fleet.sharing.switching._stack import Stack, Stepped
from gridflock.fleet.sharing.switching._tracking import Tracker

__all__ = ["Stack", "Stepped", "Tracker", "hear", "stack_of", "switchable"]
