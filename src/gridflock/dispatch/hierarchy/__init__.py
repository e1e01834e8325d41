"""DERMS above DERMS: who may use how much of a limit, whatever is late, lost or doubled, or dies.

A limit of several systems is a sum, and no system below sees it whole. The one above hands out parts of it
as allowances over time (``Parent.allot``), each a lease: it ends by itself, and what follows it is a default
that was agreed before. A part that is taken away is given to nobody else until the child has said that it
and everybody below it keep the smaller one (``Child.settled``), or until the lease has run out; a part that
grows is handed out only from what nobody can be using. So the sum holds whatever the
network does with the messages, without any of them having to arrive. Only where the bounds of one step and
those of the next have nothing in common it may not, for as long as clocks disagree about their edge.

A parent that begins anew knows nothing. It counts every child with its full rating until the child has told
what it keeps, at a time when no word of the parent's former life can still arrive; until then all children
live on inside what they were given. A system in the middle is both: child upwards, parent downwards.

The idea of leases is that of Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for
distributed file cache consistency" (SOSP 1989); what expires here is room on a wire.
"""

from gridflock.dispatch.hierarchy._between import Between
from gridflock.dispatch.hierarchy._child import WANT_S, Child
from gridflock.dispatch.hierarchy._parent import Known, Parent, overcommitted

__all__ = ["WANT_S", "Between", "Child", "Known", "Parent", "overcommitted"]
