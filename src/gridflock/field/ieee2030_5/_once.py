"""What is made from a class is made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def once(make: Callable[P, T]) -> Callable[P, T]:
    """``functools.cache``, for functions of classes: type checkers do not see that a class is hashable."""
    return cast("Callable[P, T]", cache(make))
