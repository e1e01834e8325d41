"""What hangs together: islands, and the source, section and transformer each bus belongs to.

``islands_of`` tells for every island of a version its buses, whether it is live, its sources and its
load; ``membership`` gives each bus its topology groups, which follow every switching.
"""

from gridflock.grid.islands._islands import Island, Membership, islands_of, membership

__all__ = ["Island", "Membership", "islands_of", "membership"]
