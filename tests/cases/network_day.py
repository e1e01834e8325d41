"""A small feeder's day for tests of plans inside a feeder."""

from functools import lru_cache

import numpy as np

from gridflock.grid import initial, settle
from gridflock.grid.build import from_document
from gridflock.plan.network import Feeder, feeder
from gridflock.sim import feeder_document

STEPS = 24
PRICE = 0.2 + 0.1 * np.sin(np.arange(STEPS) * 2.0 * np.pi / 24.0 - 2.0)


@lru_cache(maxsize=2)
def feeder_at(level: float) -> Feeder:
    """IEEE 123 over a day at about this part of its load, with a device port at every load."""
    network = from_document(feeder_document("ieee123"))
    shape = level * (0.8 + 0.3 * np.sin(np.arange(STEPS) * 2.0 * np.pi / 24.0 - 2.0))
    loads = network.load_kva[None, :] * shape[:, None]
    still = np.zeros(network.n, dtype=np.complex128)
    _, state = settle(network, loads.mean(axis=0), still, initial(network))
    return feeder(network, state, loads, network.load_nodes)
