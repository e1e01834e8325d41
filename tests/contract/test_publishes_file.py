"""The file of what devices are told beside orders: what it says is meant, and every fault is named."""

import math

import pytest

from gridflock.field.ieee2030_5._limiting import Held
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
        ({"curves": [{"v_pu": [0.9, 1.1], "y": [0.4, -0.4]}] * 2}, "curves.all"),
    ],
)
def test_faults_are_named(document, field):
    """Nothing is taken of a document with a fault."""
    with pytest.raises(RequestRejected) as refused:
        publishes_of(document)
    assert field in [fault.field for fault in refused.value.faults]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Absent, or no TOML."""
    (tmp_path / "odd").write_text("= 3")
    for name in ("none", "odd"):
        with pytest.raises(RequestRejected, match="cannot be read"):
            read_publishes(tmp_path / name)
