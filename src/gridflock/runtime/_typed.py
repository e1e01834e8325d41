"""What a caller in this process hands to a verb is of the kind that the verb says, or is refused by name.

Over HTTP every field is judged before a verb is called; Python itself judges nothing. A wrong type is bad
input like any other: a fault with its field, and no exception from inside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault

T = TypeVar("T")
_WORDS: Mapping[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text",
    NoneType: "nothing",
    Sequence: "a list",
    Mapping: "a document",
}


def judged(life: type[T]) -> type[T]:
    """A class whose public methods with a ``scope`` refuse arguments of a wrong type.

    Raises, at a call:
        RequestRejected: with every argument that is of another type than the method says.
    """
    for name, verb in inspect.getmembers(life, inspect.isfunction):
        if not name.startswith("_") and "scope" in inspect.signature(verb).parameters:
            setattr(life, name, _judging(verb))
    return life


def _judging(verb: Callable[..., Any]) -> Callable[..., Any]:
    signature, hints = inspect.signature(verb), get_type_hints(verb)

    @wraps(verb)
    def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the verb takes and gives
        said = signature.bind(*given, **named).arguments
        faults = tuple(
            Fault(field, words, f"of type {type(value).__name__}")
            for field, value in said.items()
            if field in hints and (words := _wrong(value, hints[field]))
        )
        if faults:
            raise RequestRejected(faults)
        return verb(*given, **named)

    return call


def _wrong(value: object, hint: Any) -> str:  # noqa: ANN401 - any annotation
    """What a value should be and is not; empty where it is as said."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any(_is(value, kind) for kind in kinds):
        return ""
    return " or ".join(_said(kind) for kind in kinds if kind is not NoneType)


def _is(value: Any, kind: Any) -> bool:  # noqa: ANN401 - any value, any annotation
    """Whether a value is of a kind; of kinds that are none of ``_WORDS`` everything is."""
    outer = get_origin(kind) or kind
    if outer not in _WORDS:
        return True
    if isinstance(value, bool):
        return bool(outer is bool)
    if outer is float:
        return isinstance(value, Real) and _has_size(value)
    if outer is int:
        return isinstance(value, Integral)
    if outer is Sequence:
        inner = get_args(kind) or (Any,)
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return listed and all(_is(one, inner[0]) for one in value)
    return isinstance(value, outer)


def _has_size(value: Any) -> bool:  # noqa: ANN401 - numbers of any kind
    """Whether a number is one that a float can hold."""
    try:
        float(value)
    except (OverflowError, ValueError):
        return False
    return True


def _said(kind: Any) -> str:  # noqa: ANN401 - any annotation
    words = _WORDS[get_origin(kind) or kind]
    inner = get_args(kind)
    return f"{words} of which each is {_said(inner[0])}" if words == _WORDS[Sequence] and inner else words
