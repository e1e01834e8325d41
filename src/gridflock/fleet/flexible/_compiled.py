"""How the loops of this package are compiled, and how they are spread over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]
"""``map``, or the same of a pool of threads: compiled parts run without the interpreter's lock."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile to IEEE arithmetic as written; the interpreter's lock is not held."""
    return cast("_Function", njit(cache=True, nogil=True, error_model="numpy")(function))


def cuts(count: int, parts: int) -> list[tuple[int, int]]:
    """``parts`` ranges of nearly equal length that cover ``range(count)``."""
    return list(pairwise(count * k // parts for k in range(parts + 1)))
