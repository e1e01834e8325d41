"""How functions of this package are compiled, and names for what exists only inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Vec = Any
"""One vector of lanes (see ``_simd``), or one number where the lanes are a plain loop."""
Place = Any
"""Where the elements of an array begin (see ``_simd.begin``), or the array itself in plain loops."""
Places = Any
"""A tuple of places that go together."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_RELAXED = {"reassoc", "nsz", "arcp", "contract", "afn"}
"""All but the promises that nothing is infinite or not a number: a lane that diverges must show."""


def exact(function: _Function) -> _Function:
    """Compile to IEEE arithmetic as written."""
    return cast("_Function", njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled(function: _Function) -> _Function:
    """Compile with products and sums free to fuse and to change their order."""
    made = njit(cache=True, nogil=True, fastmath=_RELAXED, error_model="numpy", boundscheck=False)
    return cast("_Function", made(function))


def inlined(function: _Function) -> _Function:
    """Like ``compiled``, and always part of its caller: a vector never leaves the registers on the way."""
    made = njit(cache=True, fastmath=_RELAXED, error_model="numpy", boundscheck=False, forceinline=True)
    return cast("_Function", made(function))
