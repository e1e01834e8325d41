"""Many power flows of one feeder side by side, one scenario per vector lane.

A ``Circuit`` is a network at one control state as plain arrays; the powers of its ``Inverters`` follow the
voltage they see, within every solution. ``Lanes`` orders, factors and proves it around one operating point;
``solve`` then answers scenarios, given as shared multipliers (``Shaped``) or written out, each with a
control state of its own if need be (``States``, kept with their factors in a ``StateTable``), and keeps of
every node's voltage what is ``Wanted``. Many scenarios get base points of their own by bands of load, made
by the call or in advance (``Lanes.prepare``). Every scenario of the ``LaneFlows`` carries its residual and
whether it converged; one that did not has no voltage.

What repeats exactly: the same batch gives the same bytes, in however many parts or threads. Sixteen (or
eight) neighbours stop together, so a scenario in other company agrees within the tolerance only.
"""

from gridflock.grid.lanes._asked import LaneFlows, Shaped, States, Wanted
from gridflock.grid.lanes._circuit import Circuit, Inverters, Laws
from gridflock.grid.lanes._lanes import Lanes
from gridflock.grid.lanes._states import StateTable

__all__ = ["Circuit", "Inverters", "LaneFlows", "Lanes", "Laws", "Shaped", "StateTable", "States", "Wanted"]
