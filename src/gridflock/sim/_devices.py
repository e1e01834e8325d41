"""What all device models share: rows, readings, and how a state is kept."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflock.schema import REGISTRY
from gridflock.units import Kw

Column = NDArray[Any]
Columns = dict[str, Column]
"""Registry columns of some rows: text columns as object or str arrays, numbers as float64."""

NUMBERS = tuple(entry.name for entry in REGISTRY if entry.dtype in ("f4", "u1") and not entry.may_be_absent)
"""Numbers every device has; what may be absent (its default is NaN) the simulated ones leave out."""


class Devices:
    """Rows of one family, stepped together.

    A model has ``step(…, ask_kw)``, where NaN asks for nothing: the device follows its own
    default. Whatever is asked, it keeps to its nameplate, energy, timers and comfort.

    Attributes:
        plate: registry numbers of these rows, float64 (n,) each.
        p_kw: (n,) active power held over the last step, injection positive.
        own_kw: (n,) what the rows would have done over that step unasked.
    """

    STATE: ClassVar[tuple[str, ...]] = ()
    """Attributes that, with ``p_kw`` and ``own_kw``, are the whole state."""

    def __init__(self, plate: Columns) -> None:
        self.plate = plate
        self.n = len(plate["p_max_kw"])
        self.p_kw: Kw = np.zeros(self.n)
        self.own_kw: Kw = np.zeros(self.n)

    def state(self) -> Columns:
        """Copies of all that changes."""
        return {name: np.copy(getattr(self, name)) for name in ("p_kw", "own_kw", *self.STATE)}

    def resume(self, state: Columns) -> None:
        """Put a kept state back."""
        for name in ("p_kw", "own_kw", *self.STATE):
            setattr(self, name, state[name].copy())

    def energy_kwh(self) -> Column:
        """Energy reading (n,); NaN where the device has none."""
        return np.full(self.n, np.nan)

    def locked_s(self, now_s: int) -> Column:
        """Seconds until a device may switch again (n,)."""
        del now_s
        return np.zeros(self.n)
