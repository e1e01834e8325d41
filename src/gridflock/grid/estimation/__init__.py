"""State estimation: the most likely operating point from late, missing and wrong readings.

``estimate_state`` weighs ``Measurements`` of voltage, power and current against ``Pseudo``
measurements of every port, with Kirchhoff's law at every node exact. The ``StateEstimate`` says how
sure each voltage and power is and what it rests on (``Known``), names readings that contradict the
others (``BadReading``), and counts impossible ones as ``Rejected``. Since only the node admittance and
ports are used, any connection works: delta, open-wye, split phase, neutrals, meshes.
"""

from gridflock.grid.estimation._estimate import BadReading, Pseudo, StateEstimate, estimate_state, rated_kva
from gridflock.grid.estimation._measurements import Ageing, Measurements, Quantity
from gridflock.grid.estimation._suspects import Known

__all__ = [
    "Ageing",
    "BadReading",
    "Known",
    "Measurements",
    "Pseudo",
    "Quantity",
    "StateEstimate",
    "estimate_state",
    "rated_kva",
]
