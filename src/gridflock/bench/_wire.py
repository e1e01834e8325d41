"""IEEE 2030.5 messages, bytes to values and back: ours beside ``envoy-schema`` and hand-written lxml."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from gridflock.field.ieee2030_5 import wire
from gridflock.field.ieee2030_5.resources import (
    SEP,
    ActivePower,
    DateTimeInterval,
    DERControl,
    DERControlBase,
    DERControlList,
    EventStatus,
    MirrorMeterReading,
    Profile,
    Reading,
    ReadingType,
)

PROFILE = Profile.CSIPAUS13
ROUNDS = 25
LEAST_S = 0.01
NOW_S = 1_760_000_000
PAGE = 100
Figures = dict[str, float | bool | str]


def messages() -> Mapping[str, float | bool | str]:
    """Measure reading and writing of the two messages there are most of, in one thread.

    All take turns in rounds; each figure is the least processor time of its rounds, so that what else the
    machine does hits all alike.

    Returns:
        Per second: ``reading_parse`` of a MirrorMeterReading with type and one reading,
        ``reading_bare_parse`` of one without type, ``control_parse`` of a list of one DERControl,
        ``control_render`` of one item, ``page_render`` of a list of 100 rendered items; ``..._envoy``
        and ``..._lxml`` the same by others (the second checks nothing); ``counts``: whether all read
        the same values.
    """
    ours, theirs, bare = _ours(), _envoy(), _lxml()
    contenders = ours | theirs | bare
    wrong = [
        name
        for name in ("reading_parse", "control_parse")
        if not _said(ours[name]()) == _said(theirs[f"{name}_envoy"]()) == bare[f"{name}_lxml"]()
    ]
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for name, action in contenders.items():
            best[name] = min(best[name], _least_of(action))
    found: Figures = {name: round(1.0 / taken_s) for name, taken_s in best.items()}
    why_not = f"others read other values: {', '.join(wrong)}" if wrong else ""
    return found | {"counts": not wrong, "why_not": why_not}


def _least_of(action: Callable[[], object]) -> float:
    """Processor time of one call, from as many as are long enough to be measured, s."""
    runs = 0
    begun = time.process_time()
    while True:
        for _ in range(20):
            action()
        runs += 20
        taken = time.process_time() - begun
        if taken >= LEAST_S:
            return taken / runs


# ---- the messages ------------------------------------------------------------------------------------


def _reading(kind: ReadingType | None) -> MirrorMeterReading:
    return MirrorMeterReading(
        mrid="0A1B2C3D4E5F60718293A4B5C6D7E8F9",
        description="Site P",
        reading=Reading(
            quality_flags=1, time_period=DateTimeInterval(duration=300, start=NOW_S), value=-4_321, tou_tier=0
        ),
        reading_type=kind,
    )


def _kind() -> ReadingType:
    return ReadingType(
        commodity=1,
        data_qualifier=2,
        flow_direction=1,
        interval_length=300,
        kind=37,
        power_of_ten_multiplier=0,
        uom=38,
    )


def _control() -> DERControl:
    return DERControl(
        href="/derp/1/derc/17",
        reply_to="/rsps/1/rsp",
        response_required=3,
        mrid="0A1B2C3D4E5F60718293A4B5C6D7E8F9",
        description="Envelope 17",
        creation_time=NOW_S,
        event_status=EventStatus(current_status=0, date_time=NOW_S, potentially_superseded=False),
        interval=DateTimeInterval(duration=300, start=NOW_S + 300),
        der_control_base=DERControlBase(
            op_mod_imp_lim_w=ActivePower(value=5_000, multiplier=0),
            op_mod_exp_lim_w=ActivePower(value=1_500, multiplier=0),
        ),
    )


def _bodies() -> dict[str, bytes]:
    return {
        "reading": wire.write(_reading(_kind()), PROFILE),
        "reading_bare": wire.write(_reading(None), PROFILE),
        "control": wire.write(DERControlList(all=1, results=1, der_control=(_control(),)), PROFILE),
    }


def _said(of: Any) -> tuple[int, ...]:  # noqa: ANN401 ours or theirs
    """The numbers by which two readings of the same message are compared."""
    if hasattr(of, "reading"):
        kind = of.reading_type if hasattr(of, "reading_type") else of.readingType
        return int(of.reading.value), int(kind.uom)
    ours = isinstance(of, DERControlList)
    control = of.der_control[0] if ours else of.DERControl[0]
    base = control.der_control_base if ours else control.DERControlBase_
    limit = base.op_mod_exp_lim_w if ours else base.opModExpLimW
    return int(control.interval.start), int(limit.value)


# ---- the contenders ----------------------------------------------------------------------------------


def _ours() -> dict[str, Callable[[], Any]]:
    bodies, control = _bodies(), _control()
    item = wire.item(control, DERControlList, PROFILE)
    head = DERControlList(href="/derp/1/derc", all=PAGE, results=PAGE, subscribable=1)
    return {
        "reading_parse": lambda: wire.read(bodies["reading"], MirrorMeterReading, PROFILE),
        "reading_bare_parse": lambda: wire.read(bodies["reading_bare"], MirrorMeterReading, PROFILE),
        "control_parse": lambda: wire.read(bodies["control"], DERControlList, PROFILE),
        "control_render": lambda: wire.item(control, DERControlList, PROFILE),
        "page_render": lambda: wire.listed(head, [item] * PAGE, PROFILE),
    }


def _envoy() -> dict[str, Callable[[], Any]]:
    """Raises ImportError where ``envoy-schema`` is not installed."""
    schema = "envoy_schema.server.schema.sep2"
    reading = importlib.import_module(f"{schema}.metering_mirror").MirrorMeterReading
    listed = importlib.import_module(f"{schema}.der").DERControlListResponse
    bodies = _bodies()
    one = listed.from_xml(bodies["control"])
    return {
        "reading_parse_envoy": lambda: reading.from_xml(bodies["reading"]),
        "control_parse_envoy": lambda: listed.from_xml(bodies["control"]),
        "control_render_envoy": lambda: one.to_xml(exclude_none=True),
    }


def _lxml() -> dict[str, Callable[[], Any]]:
    """The least that can be done with the parser: a few numbers, nothing checked."""
    etree = importlib.import_module("lxml.etree")
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    bodies, ns = _bodies(), f"{{{SEP}}}"
    limit = f"{{{PROFILE.extension}}}opModExpLimW/{ns}value"

    def reading() -> tuple[int, ...]:
        values = {element.tag: element.text for element in etree.fromstring(bodies["reading"], parser).iter()}
        return int(values[f"{ns}value"]), int(values[f"{ns}uom"])

    def control() -> tuple[int, ...]:
        root = etree.fromstring(bodies["control"], parser)
        start = root.findtext(f"{ns}DERControl/{ns}interval/{ns}start")
        return int(start), int(root.findtext(f"{ns}DERControl/{ns}DERControlBase/{limit}"))

    return {"reading_parse_lxml": reading, "control_parse_lxml": control}
