"""What controls speak of, and which of a program's controls give way to others of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from gridflock.field.ieee2030_5.events._spans import earliest_start_s, latest_end_s
from gridflock.field.ieee2030_5.resources import DERControl, DERControlBase, EventState

MODES = tuple(field.name for field in fields(DERControlBase) if field.name != "ramp_tms")
"""Fields of ``DERControlBase`` that set something; the ramp says how."""
_OVER = (EventState.CANCELLED, EventState.CANCELLED_RANDOMISED, EventState.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class GivesWay:
    """What the newer controls of a program make of an older one.

    Attributes:
        superseded_s: from when it is replaced as a whole; None where it is not.
        partly_s: from when others speak of some of its modes, categories or devices; None where none do.
    """

    superseded_s: int | None = None
    partly_s: int | None = None


def modes(base: DERControlBase) -> frozenset[str]:
    """The modes that a control or default says something of."""
    return frozenset(mode for mode in MODES if getattr(base, mode) is not None)


def gives_way(control: DERControl, others: Sequence[DERControl]) -> GivesWay:
    """Whether a control is replaced by newer ones of its program, as a whole or partly.

    A control made later (of two made at once, that of the larger mRID) that may hold at the same time
    replaces one of exactly the same modes and categories of devices, from the newer one's earliest start;
    where modes or categories only meet, the older one is partly replaced.

    Args:
        control: which has neither been cancelled nor superseded.
        others: of the same program; itself and those that are over change nothing.
    """
    whole: list[int] = []
    part: list[int] = []
    mine = modes(control.der_control_base)
    for other in others:
        if not _newer(other, control) or other.event_status.current_status in _OVER:
            continue
        if not meet(control, other):
            continue
        theirs = modes(other.der_control_base)
        start_s = max(earliest_start_s(other), earliest_start_s(control))
        if replaces(other, control):
            whole.append(start_s)
        elif theirs & mine and _of_some(control.device_category, other.device_category):
            part.append(start_s)
    return GivesWay(min(whole, default=None), min(part, default=None))


def replaces(newer: DERControl, older: DERControl) -> bool:
    """Whether one of two controls of a program takes the whole place of the other, cancelled or not."""
    return (
        _newer(newer, older)
        and newer.device_category == older.device_category
        and modes(newer.der_control_base) == modes(older.der_control_base)
        and meet(newer, older)
    )


def _newer(one: DERControl, other: DERControl) -> bool:
    return (one.creation_time, one.mrid) > (other.creation_time, other.mrid)


def meet(one: DERControl, other: DERControl) -> bool:
    """Whether some device may be under both at once."""
    return earliest_start_s(one) < latest_end_s(other) and earliest_start_s(other) < latest_end_s(one)


def _of_some(one: int | None, other: int | None) -> bool:
    return one is None or other is None or bool(one & other)
