"""What a device is under at a moment, mode by mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gridflock.field.ieee2030_5.events._modes import modes, replaces
from gridflock.field.ieee2030_5.events._spans import Span, span_of
from gridflock.field.ieee2030_5.resources import DefaultDERControl, DERControl, DERControlBase, EventState


@dataclass(frozen=True, slots=True)
class Offer:
    """One program as a device sees it.

    Attributes:
        primacy: the lower wins.
        program: its mRID.
        controls: all that are listed.
        default: what holds while none of them does; None where the program has none.
    """

    primacy: int
    program: str
    controls: Sequence[DERControl]
    default: DefaultDERControl | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device is under.

    Attributes:
        base: every mode with its value, whoever gives it; ``ramp_tms`` of the newest control among them.
        by_mode: the control behind each mode; None where it is a default.
        overtaken: mRIDs of controls that would hold but give way in every mode.
        until_s: what stands here stands before this moment; None where no control ends or begins any more.
        default: the default that weighs most, for ramps and entering service; None without one.
    """

    base: DERControlBase
    by_mode: Mapping[str, DERControl | None]
    overtaken: frozenset[str]
    until_s: int | None
    default: DefaultDERControl | None

    @property
    def controls(self) -> tuple[DERControl, ...]:
        """The controls that are obeyed, each once."""
        found = {each.mrid: each for each in self.by_mode.values() if each is not None}
        return tuple(found.values())


def standing(offers: Sequence[Offer], now_s: int, lfdi: str, categories: int | None = None) -> Standing:
    """The effective control of a device.

    Each mode is given by the control of the program with the lowest primacy that holds now and says something
    of it; of several the one made last, and of those the one of the largest mRID. A mode that no control
    speaks of is given by the defaults in the same order. Programs of other modes hold side by side.

    Args:
        offers: the programs assigned to the device.
        now_s: in the server's time.
        lfdi: of the device.
        categories: bits of ``DeviceCategory`` that it belongs to; None = it is of all.
    """
    ranked = sorted(offers, key=lambda offer: (offer.primacy, offer.program))
    holding, moments = _holding(ranked, now_s, lfdi, categories)
    found: dict[str, Any] = {}
    by_mode: dict[str, DERControl | None] = {}
    for control in holding:
        for mode in modes(control.der_control_base):
            if mode not in by_mode:
                by_mode[mode], found[mode] = control, getattr(control.der_control_base, mode)
    obeyed = {control.mrid for control in by_mode.values() if control is not None}
    defaults = [offer.default for offer in ranked if offer.default is not None]
    for default in defaults:
        for mode in modes(default.der_control_base):
            if mode not in by_mode:
                by_mode[mode], found[mode] = None, getattr(default.der_control_base, mode)
    ramp = _ramp([control for control in holding if control.mrid in obeyed])
    overtaken = frozenset(control.mrid for control in holding) - obeyed
    return Standing(
        DERControlBase(**found, ramp_tms=ramp),
        by_mode,
        overtaken,
        min(moments, default=None),
        defaults[0] if defaults else None,
    )


def _holding(
    ranked: Sequence[Offer], now_s: int, lfdi: str, categories: int | None
) -> tuple[list[DERControl], list[int]]:
    """Controls that hold now, weightiest first, and the moments at which that changes."""
    holding, moments = [], []
    for offer in ranked:
        mine: list[DERControl] = []
        for control in offer.controls:
            if not concerns(control, categories):
                continue
            span = span_among(control, offer.controls, lfdi)
            if span.holds(now_s):
                mine.append(control)
                moments.append(span.end_s)
            elif now_s < span.start_s < span.end_s:
                moments.append(span.start_s)
        holding += sorted(mine, key=lambda control: (control.creation_time, control.mrid), reverse=True)
    return holding, moments


def span_among(control: DERControl, others: Sequence[DERControl], lfdi: str) -> Span:
    """When a control holds on one device, beside the others of its program.

    As of ``span_of``, but for a control that is superseded: its server calls it so from the moment at which
    the first device may begin the newer one. On a device that begins the newer one later by its own chance
    the older holds until then, so that it is under one of them at every moment; if the newer one is cancelled
    before that, until it is cancelled.

    Args:
        control: as it stands on the wire.
        others: all that are listed of its program.
        lfdi: of the device.
    """
    span, status = span_of(control, lfdi), control.event_status
    if status.current_status != EventState.SUPERSEDED:
        return span
    begins = [_begins_s(each, status.date_time, lfdi) for each in others if replaces(each, control)]
    known = [moment for moment in begins if moment is not None]
    if not known:
        return span
    still = replace(control, event_status=replace(status, current_status=EventState.ACTIVE))
    whole = span_of(still, lfdi)
    return Span(whole.start_s, max(min(whole.end_s, max(min(known), status.date_time)), span.end_s))


def _begins_s(newer: DERControl, since_s: int, lfdi: str) -> int | None:
    """When a device leaves what a newer control superseded at ``since_s``; None where another one did."""
    start_s, status = span_of(newer, lfdi).start_s, newer.event_status
    if status.current_status not in (EventState.CANCELLED, EventState.CANCELLED_RANDOMISED):
        return start_s
    return min(start_s, status.date_time) if status.date_time > since_s else None


def concerns(control: DERControl, categories: int | None) -> bool:
    """Whether a control is for devices of these categories; who tells none is of all."""
    wanted = control.device_category
    return wanted is None or categories is None or bool(wanted & categories)


def _ramp(obeyed: Sequence[DERControl]) -> int | None:
    """The ramp of the newest control that is obeyed and states one."""
    stated = [control for control in obeyed if control.der_control_base.ramp_tms is not None]
    newest = max(stated, key=lambda control: control.creation_time, default=None)
    return None if newest is None else newest.der_control_base.ramp_tms
