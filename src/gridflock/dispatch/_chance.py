"""Chance that can be replayed: numbers between 0 and 1 that a row and a word always draw alike.

Staggering and probing must not herd, and a tick replayed must give the same bytes; so nobody draws
from a generator: a number is a hash of the row and of what it is for.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Kw, Rows

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MANTISSA = 2.0**-53
_LEAST_KW = 1e-3


def uniform(n: int, purpose: str, seed: int = 0) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1), one per row, spread like independent draws.

    The mixing steps are those of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom
    number generators, 2014).

    Args:
        n: how many rows.
        purpose: what they are for, such as the id of a proposal; each purpose has numbers of its own.
        seed: of a whole life.
    """
    start = np.uint64(zlib.crc32(purpose.encode()) | (seed & 0xFFFFFFFF) << 32)
    mixed = (np.arange(1, n + 1, dtype=np.uint64) + start) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * _MANTISSA


def in_turn(purpose: str, rows: Rows, size_kw: Kw) -> NDArray[np.float64]:
    """(n,) the turn of every row, 0 to 1: by lot, and as long as a member is large.

    However different the members are, the sum of those whose turn is over grows evenly.

    Args:
        purpose: what it is for.
        rows: members; the turn of others is a lot of its own.
        size_kw: (n,) size of each row.
    """
    lot = uniform(len(size_kw), purpose)
    order = rows[np.argsort(lot[rows], kind="stable")]
    size = np.maximum(size_kw[order], _LEAST_KW)
    done = np.cumsum(size)
    if len(order):
        lot[order] = (done - 0.5 * size) / done[-1]
    return lot
