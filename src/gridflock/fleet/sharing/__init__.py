"""One target for many: the way downwards, the pair of adding up.

``split`` shares a group's order among its members family by family; what is missing is named by cause.
"""

from gridflock.fleet.sharing._shares import fair
from gridflock.fleet.sharing._split import Split, split

__all__ = ["Split", "fair", "split"]
