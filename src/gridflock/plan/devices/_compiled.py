"""How the loops of the oracles are compiled, and how they are spread over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]
"""``map``, or the same of a pool of threads: compiled parts run without the interpreter's lock."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile to IEEE arithmetic as written; the interpreter's lock is not held."""
    return cast("_Function", njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: _Function) -> _Function:
    """The same, into the loop that calls it: handing over many arrays costs more than a short body."""
    options = {"nogil": True, "error_model": "numpy", "forceinline": True}
    return cast("_Function", njit(**options)(function))


def over_groups(start: Indices, parts: int, spread: Spread, part: Callable[[tuple[int, int]], None]) -> None:
    """Call ``part((first, last))`` over ranges of groups that hold nearly equally many devices.

    Groups are never cut, so that sums do not depend on ``parts``.
    """
    wanted = start[-1] * np.arange(parts + 1) // parts
    cuts = np.searchsorted(start, wanted)
    cuts[0], cuts[-1] = 0, len(start) - 1
    ranges = [(int(a), int(b)) for a, b in pairwise(cuts)]
    for _ in spread(lambda k: part(ranges[k]), range(parts)):
        pass


def thin(start: Indices, every: int) -> tuple[Indices, Indices]:
    """Every so-manieth member of each group: which, and where each group begins among them."""
    kept = [np.arange(a, b, every) for a, b in pairwise(start)]
    return np.concatenate(kept), np.cumsum([0, *(len(k) for k in kept)])
