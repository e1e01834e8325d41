"""What moves in a network without changing its topology: taps and capacitor switches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import Network
from gridflock.units import NEVER_S, Mask, Seconds


@dataclass(frozen=True, slots=True, eq=False)
class ControlState:
    """Positions of the feeder's own controls.

    Attributes:
        taps: int8 (K,) regulator positions; the tapped end has ``1 + step·tap`` per unit.
        cap_on: (M,) capacitor switches.
        pending_since_s: int64 (K+M,) since when a control sees its voltage out of band, -1 where it does not.
    """

    taps: NDArray[np.int8]
    cap_on: Mask
    pending_since_s: Seconds


def initial(network: Network, *, published: bool = True) -> ControlState:
    """The published positions, or all regulators neutral with the published capacitors."""
    taps = network.regulators.tap if published else np.zeros_like(network.regulators.tap)
    pending = np.full(len(taps) + len(network.capacitors.on), NEVER_S, dtype=np.int64)
    return ControlState(taps, network.capacitors.on, pending)
