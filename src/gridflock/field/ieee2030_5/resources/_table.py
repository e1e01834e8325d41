"""From a class to its table: which element or attribute carries a field, in order, and since which profile.

A field is written ``primacy: Annotated[UInt8, El("primacy")]``: its type says what a value may be, ``| None``
that it may be absent, ``tuple[X, ...]`` that it is repeated. ``table`` reads that once for each class.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from gridflock.field.ieee2030_5._once import once
from gridflock.field.ieee2030_5.resources._kinds import Flag, Kind

SEP = "urn:ieee:std:2030.5:ns"
"""Namespace of the standard, edition 2018."""
MOST_ITEMS = 5_000
"""A longer list is refused."""


class Profile(IntEnum):
    """What a client speaks: the standard, or one of its Australian profiles; each contains the one before."""

    SEP2018 = 0
    CSIPAUS12 = 1
    CSIPAUS13 = 2

    __hash__ = int.__hash__  # an enumeration's own hashes the name, anew for every message

    @property
    def extension(self) -> str:
        """Namespace of the profile's own elements; empty where it has none."""
        return _EXTENSIONS[self]


_EXTENSIONS = ("", "https://csipaus.org/ns", "https://csipaus.org/ns/v1.3")


@dataclass(frozen=True, slots=True)
class El:
    """The element that carries a field.

    Attributes:
        name: local name.
        since: first profile that has it.
        aus: it stands in the profile's own namespace, not in the standard's.
        required: a profile that has it demands it, although the field may be None for the others.
        unsaid: what is written of a value to a profile that demands it, where its author's does not have it.
        least: fewest repetitions.
        most: most repetitions.
        derived: the value may be of any class derived from the field's, and then names it by ``xsi:type``.
    """

    name: str
    since: Profile = Profile.SEP2018
    aus: bool = False
    required: bool = False
    unsaid: int | None = None
    least: int = 0
    most: int = MOST_ITEMS
    derived: bool = False


@dataclass(frozen=True, slots=True)
class At:
    """The attribute that carries a field.

    Attributes:
        name: its name.
        since: first profile that has it.
        always: written even where it equals the default.
    """

    name: str
    since: Profile = Profile.SEP2018
    always: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """One row of a class's table.

    Attributes:
        field: name of the dataclass field.
        mark: the element or attribute.
        kind: what a simple value may be, or the class of a nested one.
        repeated: the field is a tuple.
        required: it must be there in every profile.
        default: what absence means.
    """

    field: str
    mark: El | At
    kind: Kind | type[Any]
    repeated: bool
    required: bool
    default: Any

    def demanded(self, profile: Profile) -> bool:
        """Whether a document of this profile must have it."""
        by_profile = isinstance(self.mark, El) and self.mark.required
        return profile >= self.mark.since and (self.required or by_profile)


@once
def table(of: type[Any]) -> tuple[Slot, ...]:
    """The fields of a class in the order of the wire, those of its bases first."""
    hints = get_type_hints(of, include_extras=True)
    return tuple(_slot(each.name, hints[each.name], each.default) for each in fields(of))


def _slot(name: str, hint: Any, default: Any) -> Slot:  # noqa: ANN401 annotations are plain objects
    inner, mark = hint.__origin__, hint.__metadata__[-1]
    repeated = get_origin(inner) is tuple
    if repeated or get_origin(inner) in {Union, UnionType}:
        inner = next(part for part in get_args(inner) if part is not NoneType)
    kinds = hint.__metadata__[:-1] or getattr(inner, "__metadata__", ())
    kind = Flag() if inner is bool else kinds[0] if kinds else inner
    required = default is MISSING
    return Slot(name, mark, kind, repeated, required, None if required else default)


def namespace(of: type[Any], profile: Profile) -> str | None:
    """Namespace of a document of this class; None where the profile does not have it."""
    since = getattr(of, "SINCE", Profile.SEP2018)
    if profile < since:
        return None
    return profile.extension if since else SEP
