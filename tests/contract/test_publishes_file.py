"""The file of what devices are told beside orders: what it says is meant, and every fault is named."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gridflock.dispatch.guard import CurveBounds
from gridflock.field.ieee2030_5._limiting import Held
from gridflock.field.ieee2030_5._map import curve_of
from gridflock.field.ieee2030_5.resources import DERCurveType
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime.devices._published import Publishes
from gridflock.runtime.devices._published_file import publishes_of, read_publishes

TEXT = """
export_kw = 1.5
horizon_s = 7200
currency = 36
settings_hold = true

[fallback.pv-0001]
export_kw = 0
equipment = true

[[curves]]
group = "section/s1"
kind = "volt-var"
v_pu = [0.92, 0.98, 1.02, 1.08]
y = [0.44, 0.0, 0.0, -0.44]
"""


def test_what_is_said_is_meant_and_the_rest_is_as_ever(tmp_path):
    """Fields by name, bounds by resource, curves by group."""
    path = tmp_path / "told.toml"
    path.write_text(TEXT)
    found = read_publishes(path)
    assert (found.export_kw, found.import_kw, found.horizon_s, found.currency) == (1.5, math.inf, 7_200, 36)
    assert found.settings_hold
    assert found.held("other") == Held(-math.inf, 1.5, at_point=True)
    assert found.held("pv-0001") == Held(-math.inf, 0.0, at_point=False)
    (curve,) = found.curves["section/s1"]
    assert (curve.kind, curve.y) == (DERCurveType.VOLT_VAR, (0.44, 0.0, 0.0, -0.44))
    assert publishes_of({}) == Publishes()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"export": 1}, "export"),
        ({"export_kw": -1}, "export_kw"),
        ({"import_kw": math.nan}, "import_kw"),
        ({"prices": 1}, "prices"),
        ({"horizon_s": 60}, "horizon_s"),
        ({"currency": True}, "currency"),
        ({"fallback": 3}, "fallback"),
        ({"fallback": {"a": {"p": 1}}}, "fallback.a.p"),
        ({"fallback": {"a": {"export_kw": "x"}}}, "fallback.a.export_kw"),
        ({"curves": {}}, "curves"),
        ({"curves": [{"v_pu": [1.0], "y": ["a"]}]}, "curves.all"),
        ({"curves": [{"v_pu": [0.9, 1.1], "y": [-0.4, 0.4]}]}, "curves.all.y"),
        ({"curves": [{"kind": "watt-pf", "v_pu": [0.9, 1.1], "y": [0.4, -0.4]}]}, "curves.all.kind"),
        ({"curves": [{"v_pu": [0.9, 1.1], "y": [0.4, -0.4]}] * 2}, "curves.all.kind"),
        ({"curves": [{"v_pu": [0.92, 1.08], "y": [44.0, -44.0]}]}, "curves.all.y"),
        ({"curves": [{"kind": "volt-watt", "v_pu": [230.0, 253.0], "y": [1.0, 0.0]}]}, "curves.all.v_pu"),
        ({"curves": [{"v_pu": [1.0, 1.00004], "y": [0.0, 0.0]}]}, "curves.all.v_pu"),
    ],
)
def test_faults_are_named(document, field):
    """Nothing is taken of a document with a fault."""
    with pytest.raises(RequestRejected) as refused:
        publishes_of(document)
    assert field in [fault.field for fault in refused.value.faults]


POINTS = st.lists(st.tuples(st.floats(0.76, 1.24), st.floats(-0.45, 0.45)), min_size=2, max_size=5)


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(st.sampled_from(["volt-var", "volt-watt"]), POINTS, st.booleans())
def test_what_is_told_of_a_curve_is_within_the_guards_bounds(kind, points, falling):
    """Whatever points are written: a curve that is taken is one that passes the guard as devices read it."""
    v_pu, y = [point[0] for point in points], [point[1] for point in points]
    if falling:
        v_pu, y = sorted(v_pu), sorted(y, reverse=True)
    bounds = CurveBounds() if kind == "volt-var" else CurveBounds.volt_watt()
    try:
        found = publishes_of({"curves": [{"kind": kind, "v_pu": v_pu, "y": y}]})
    except RequestRejected:
        assume(False)
    (curve,) = found.curves["all"]
    told = curve_of(curve.kind, curve.v_pu, curve.y)
    scale = 10.0 ** (told.x_multiplier - 2), 10.0 ** (told.y_multiplier - 2)
    read = [
        [getattr(at, f"{axis}value") * by for at in told.curve_data]
        for axis, by in zip("xy", scale, strict=True)
    ]
    assert not bounds.faults("device", np.round(read[0], 9), np.round(read[1], 9))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Absent, or no TOML."""
    (tmp_path / "odd").write_text("= 3")
    for name in ("none", "odd"):
        with pytest.raises(RequestRejected, match="cannot be read"):
            read_publishes(tmp_path / name)
