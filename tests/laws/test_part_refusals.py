"""What no reader may hand over: parts and documents with numbers that cannot be, refused by name."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import CapacitorMode
from gridflock.grid.build import (
    Branch,
    Bus,
    Capacitor,
    End,
    FeederRejected,
    Parts,
    Port,
    Regulator,
    Shunt,
    Source,
    assemble,
    from_document,
)
from gridflock.grid.build._assemble import MOST_SIEMENS, MOST_TAPS
from gridflock.grid.build._document import LARGEST, SMALLEST
from gridflock.grid.build._numbers import MOST_CONDUCTORS

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NAN, INF = float("nan"), float("inf")
ABC = (1, 2, 3)
SERIES = np.kron([[1, -1], [-1, 1]], np.eye(3)) * (2 - 5j)


def _parts():
    """A source, a regulated line, a load and a switched bank."""
    parts = Parts("small", buses=[Bus("s", 7200.0), Bus("b", 7200.0)])
    volts = 7200.0 * np.exp(-2j * np.pi / 3 * np.arange(3))
    parts.sources.append(Source("source", End(0, ABC), volts, np.eye(3) * (1 - 9j), "f:1"))
    parts.branches.append(Branch("line", "regulator", (End(0, ABC), End(1, ABC)), SERIES, where="f:2"))
    parts.ports.append(Port("load", 1, (1, 0), -90 - 30j, 7200.0, where="f:3"))
    parts.shunts.append(Shunt("bank", "capacitor", End(1, ABC), np.eye(3) * 1e-3j, "f:4"))
    parts.regulators.append(
        Regulator("reg", "line", 1, (1, 1, 0), 3, 120.0, 2.0, 60.0, 100.0, 3.0, 5.0, 30.0, 0, 7200.0)
    )
    parts.capacitors.append(
        Capacitor("switch", "bank", True, CapacitorMode.VOLTAGE, ((1, 1),), on_at=115.0, off_at=125.0)
    )
    return parts


def _rejected(parts):
    with pytest.raises(FeederRejected) as error:
        assemble(parts)
    return error.value.rejected


def test_the_small_feeder_is_sound():
    """As it stands it becomes a network: every refusal below is that of the one change."""
    assert assemble(_parts()).n == 6


WRONG = [
    *[("buses", {"v": v}, "bus", "v") for v in (INF, 0.0, -1.0)],
    ("buses", {"v": 1e16}, "bus", "v"),
    ("sources", {"v": np.array([1, NAN, 1])}, "source", "v"),
    ("sources", {"v": np.ones(2)}, "source", "v"),
    ("sources", {"y": np.eye(3) * NAN}, "source", "y"),
    ("sources", {"y": np.eye(2)}, "source", "y"),
    ("sources", {"end": End(0, (1, 2, -3))}, "source", "phases"),
    ("branches", {"ends": (End(0, ABC), End(1, (1, 2, MOST_CONDUCTORS + 1)))}, "regulator", "phases"),
    ("branches", {"ends": (End(0, ABC), End(1, (1, 2, -1)))}, "regulator", "phases"),
    ("branches", {"ends": (End(0, ABC), End(7, ABC))}, "regulator", "bus"),
    ("branches", {"ends": (End(0, (*ABC, *ABC)),)}, "regulator", "bus"),
    ("branches", {"y": np.full((6, 6), INF)}, "regulator", "y"),
    ("branches", {"y": SERIES * MOST_SIEMENS}, "regulator", "y"),
    ("shunts", {"y": np.eye(3) * 2 * MOST_SIEMENS}, "capacitor", "y"),
    ("shunts", {"end": End(1, (1, 2, 1000))}, "capacitor", "phases"),
    ("ports", {"conductors": (1, 300)}, "load", "phases"),
    ("ports", {"conductors": (-2, 0)}, "load", "phases"),
    ("ports", {"bus": 9}, "load", "bus"),
    *[("ports", {"kva": v}, "load", "kva") for v in (complex(NAN, 0), complex(0, INF), 1e16)],
    *[("ports", {"rated_v": v}, "load", "rated_v") for v in (0.0, -1.0, NAN, INF, 1e-40)],
    ("ports", {"zip_q": (NAN, 1.0, 0.0)}, "load", "law"),
    *[("ports", {"exponent": (1.0, v)}, "load", "law") for v in (INF, -101.0)],
    *[
        ("ports", {"limits": v}, "load", "limits")
        for v in ((0.5, 1.1, 0.9), (NAN, 0.9, 1.1), (0.0, 0.0, 1.0))
    ],
    ("ports", {"edge": (NAN, 1.0)}, "load", "limits"),
    *[("regulators", {"tap_high": v, "tap": v}, "regulator", "taps") for v in (MOST_TAPS + 1, 200)],
    ("regulators", {"tap_low": -MOST_TAPS - 1}, "regulator", "taps"),
    ("regulators", {"most_taps": 1000}, "regulator", "taps"),
    ("regulators", {"tap": 17}, "regulator", "tap"),
    ("regulators", {"branch": "gone"}, "regulator", "branch"),
    ("regulators", {"seen": (1, 7, 0)}, "regulator", "monitored"),
    *[("regulators", {k: NAN}, "regulator", k) for k in ("v_set_v", "band_v", "r_v", "x_v", "delay_s")],
    *[("regulators", {k: 0.0}, "regulator", k) for k in ("pt_ratio", "ct_a", "step_pu", "base_v")],
    *[("regulators", {k: -1.0}, "regulator", k) for k in ("band_v", "delay_s", "pt_ratio", "ct_a")],
    *[("capacitors", {k: INF}, "capacitor", k) for k in ("on_at", "off_at", "v_low_v", "v_high_v")],
    *[("capacitors", {k: NAN}, "capacitor", k) for k in ("on_at", "off_at", "delay_s", "pt_ratio")],
    *[("capacitors", {k: 0.0}, "capacitor", k) for k in ("pt_ratio", "ct_ratio")],
    ("capacitors", {"delay_off_s": -1.0}, "capacitor", "delay_off_s"),
    ("capacitors", {"shunt": "gone"}, "capacitor", "shunt"),
    ("capacitors", {"mode": CapacitorMode.KVAR}, "capacitor", "element"),
]


@pytest.mark.parametrize(("kind", "change", "component", "field"), WRONG)
def test_a_part_that_cannot_be_is_refused_by_name(kind, change, component, field):
    """One field out of its bounds: refused with the element's kind and name and the field; no network."""
    parts = _parts()
    items = getattr(parts, kind)
    items[-1] = replace(items[-1], **change)
    assert (component, field, (items[-1].id,)) in [(r.component, r.field, r.ids) for r in _rejected(parts)]


def test_what_is_read_from_a_file_is_refused_with_its_place():
    """The place an element was read from stands in the reason."""
    parts = _parts()
    parts.ports[0] = replace(parts.ports[0], kva=complex(NAN, NAN))
    parts.branches[0] = replace(parts.branches[0], y=SERIES * NAN)
    assert ["f:2" in r.reason or "f:3" in r.reason for r in _rejected(parts)] == [True, True]


def test_bounds_themselves_are_allowed():
    """The largest conductor number and tap range, absent limits of a bank, and a load without power stand."""
    parts = _parts()
    parts.regulators[0] = replace(parts.regulators[0], tap_low=-MOST_TAPS, tap_high=MOST_TAPS, tap=MOST_TAPS)
    parts.ports.append(Port("none", 1, (2, 3), 0j, 12470.0))
    y = np.kron([[1, -1], [-1, 1]], np.eye(1)) * (2 - 5j)
    parts.buses.append(Bus("n", NAN))
    parts.branches.append(Branch("odd", "line", (End(1, (1,)), End(2, (MOST_CONDUCTORS,))), y))
    network = assemble(parts)
    assert network.node_conductor.max() == MOST_CONDUCTORS
    assert network.regulators.tap_high[0] == MOST_TAPS


# ---- documents -----------------------------------------------------------------------------------


def _numbers(value, path=()):
    """Paths of all numbers of a document that its reader knows."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, (*path, key))
    elif isinstance(value, list):
        for k, item in enumerate(value):
            yield from _numbers(item, (*path, k))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


PATHS = list(_numbers(DOCUMENT))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PATHS),
    st.sampled_from(
        [NAN, INF, -INF, 10 * LARGEST, -10 * LARGEST, SMALLEST / 10, 10**400, True, "7", None, [], {}]
    ),
)
def test_a_documents_number_outside_all_sizes_is_refused(path, value):
    """Not finite, larger or smaller than any size, of another type: refused, never an exception."""
    document = copy.deepcopy(DOCUMENT)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    try:
        from_document(document)
    except FeederRejected as error:
        assert all(r.component and r.field and r.ids and r.reason for r in error.rejected)  # noqa: PT017 either end is right
    else:
        assert value is None or path[0] not in {"buses", "lines", "loads", "source"}


@pytest.mark.parametrize(
    ("value", "says"),
    [(LARGEST * 10, "1e+16"), (SMALLEST / 10, "1e-31"), (NAN, "nan"), (-INF, "-inf"), (10**400, "1000")],
)
def test_a_number_outside_sizes_names_its_field(value, says):
    """A voltage far beyond any, or next to nothing but not zero, is told with bus and field, in short."""
    document = copy.deepcopy(DOCUMENT)
    document["buses"][3]["kv"] = value
    with pytest.raises(FeederRejected) as error:
        from_document(document)
    (fault,) = error.value.rejected
    assert (fault.component, fault.field, fault.ids) == ("bus", "kv", (document["buses"][3]["id"],))
    assert says in fault.reason
    assert len(fault.reason) < 100
