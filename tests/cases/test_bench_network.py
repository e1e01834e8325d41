"""A feeder's day planned by ``gridflock bench network-dispatch``: its world, its verdict, its referee."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.bench import network_dispatch
from gridflock.bench._network_dispatch import _wrong
from gridflock.bench._network_referee import refereed
from gridflock.bench._network_world import drawn, elements, opened, places, rolled, world
from gridflock.console._cli import app
from gridflock.field import opendss
from gridflock.grid import initial
from gridflock.grid.build import assemble, from_document
from gridflock.plan.network import Policy
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._verdict import limits
from gridflock.sim import feeder_document

AGREEMENT_PU = 1e-7


@pytest.fixture(autouse=True, scope="module")
def engine(require):
    """The OpenDSS engine is there."""
    require("OpenDSS (gridflock[opendss])", opendss.available())


def test_the_referee_sees_what_we_see():
    """OpenDSS from its own file: voltages, currents and every count of violations are ours."""
    with opened("ieee123", None) as (path, root):
        of = world(path, root, 200, 5)
        exact, rng = Exact(of.feeder), np.random.default_rng(1)
        still = np.zeros((of.feeder.ports, of.feeder.steps))
        without = exact.points(still, still).v
        asked = limits(of.feeder.network, without, exact.currents(without), Policy.HARD)
        p_kw, q_kvar = rng.normal(30.0, 12.0, still.shape), rng.normal(0.0, 6.0, still.shape)
        v = exact.points(p_kw, q_kvar).v
        found = refereed(path, root, of, asked, p_kw, q_kvar, v, exact.currents(v))
        wrong = refereed(path, root, of, asked, 0.9 * p_kw, q_kvar, v, exact.currents(v))
    assert found.error_pu <= AGREEMENT_PU
    assert found.error_a <= AGREEMENT_PU
    assert found.verdict.voltages > 0
    assert wrong.error_pu > 1e-5


def test_the_referee_follows_the_taps(shared):
    """Regulators that move through the day stand in OpenDSS where each step has them."""
    folder = shared / "data/feeders/IEEETestCases"
    master, rng = folder / "123Bus/IEEE123Master.dss", np.random.default_rng(1)
    of = world(master, folder, 100, 5)
    still = np.zeros((of.feeder.ports, of.feeder.steps))
    course = of.feeder.taps + np.repeat(rng.integers(-3, 4, (6, of.feeder.taps.shape[1])), 16, axis=0)
    moved = of.feeder.acting(course.astype(np.int8), of.feeder.cap_on)
    exact = Exact(moved)
    without = exact.points(still, still).v
    asked = limits(moved.network, without, exact.currents(without), Policy.HARD)
    p_kw = rng.normal(30.0, 12.0, still.shape)
    v = exact.points(p_kw, still).v
    found = refereed(master, folder, replace(of, feeder=moved), asked, p_kw, still, v, exact.currents(v))
    wrong = refereed(master, folder, of, asked, p_kw, still, v, exact.currents(v))
    assert found.error_pu <= AGREEMENT_PU
    assert found.error_a <= AGREEMENT_PU
    assert wrong.error_pu > 1e-3


@pytest.mark.slow
def test_a_day_without_violations_and_its_figures():
    """From many violations to none in AC and in OpenDSS; needs served; cost between the bounds and 1 %."""
    found = network_dispatch("ieee123", None, 400, 1)
    assert found["violations_price_only"] > 0
    assert found["violations"] == found["opendss_violations"] == 0
    assert found["opendss_max_error_pu"] <= AGREEMENT_PU
    assert found["ev_unserved_kwh"] <= 1e-4 * found["ev_need_kwh"]
    assert found["beyond_rating_kva"] <= 1e-6
    assert found["cost_over_free_bound"] >= found["cost_over_linearised_bound"] - 1e-3
    assert found["counts"], found["why_not"]


def test_without_reactive_power_all_holds_or_is_named():
    """Zero violations, or the limits that cannot hold by element, step and worst value."""
    found = network_dispatch("ieee123", None, 400, 1, reactive=False)
    assert (found["violations"] == 0) == (not found["broken"])
    assert found["opendss_violations"] == found["violations"]
    assert found["ev_unserved_kwh"] <= 1e-4 * found["ev_need_kwh"] or not found["counts"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("missing_kwh", np.nan),
        ("missing_kwh", 1e-3),
        ("ev_unserved_kwh", np.nan),
        ("ev_unserved_kwh", 2e-3),
        ("ev_unservable_kwh", np.nan),
        ("opendss_max_error_pu", np.nan),
        ("cost_over_linearised_bound", np.nan),
        ("violations", 1),
        ("opendss_violations", 1),
    ],
)
def test_what_is_wrong_or_no_number_does_not_count(field, value):
    """Good figures count; one that breaks its rule, or is no number, ends that, and is named."""
    good = {
        "violations": 0, "opendss_violations": 0, "opendss_max_error_pu": 1e-9,
        "cost_over_linearised_bound": 0.001, "ev_unserved_kwh": 0.0, "ev_need_kwh": 10.0, "missing_kwh": 0.0,
        "ev_unservable_kwh": 0.0,
    }  # fmt: skip
    assert _wrong(good) == []
    assert len(_wrong(good | {field: value})) == 1


def test_the_command_refuses_what_does_not_fit():
    """Unknown policies and feeders end with what is wrong, not with a traceback."""
    for wrong in (["--policy", "soft"], ["--feeder", "nowhere"], ["--feeder", "nowhere.dss"]):
        found = CliRunner().invoke(app, ["bench", "network-dispatch", *wrong])
        assert found.exit_code == 1
        assert "Traceback" not in found.output


def test_a_world_is_its_seed():
    """Equal seeds draw equal days, other seeds other ones; prices are positive."""
    network = from_document(feeder_document("ieee123"))
    one, same, other = (drawn(network, 60, seed) for seed in (4, 4, 5))
    assert one.kind == same.kind != other.kind
    assert (one.price == same.price).all()
    assert (one.feeder.load_kva == same.feeder.load_kva).all()
    assert (one.price > 0.0).all()


def test_a_rolled_world_goes_on():
    """A step later: loads and prices one on, a vehicle's need less what it got, its need still at the end."""
    of = drawn(from_document(feeder_document("ieee123")), 60, 4)
    rows = of.flexibility
    p_kw = rows.base_kw - 0.5 * rows.down_kw * of.of("vehicle")[:, None]
    later = rolled(of, p_kw)
    got = 0.25 * rows.gain_down * (rows.base_kw - p_kw)[:, 0]
    assert (later.feeder.load_kva[0] == of.feeder.load_kva[1]).all()
    vehicles = of.of("vehicle")
    left = later.flexibility.x_hi_kwh[vehicles, -1]
    assert np.allclose(left, rows.x_hi_kwh[vehicles, -1] - got[vehicles])
    assert np.allclose(later.flexibility.x_lo_kwh[vehicles, -1], left)
    assert later.flexibility.grid.start_s - rows.grid.start_s == 900


def test_split_phase_customers_are_one_place(shared):
    """On the 8500-node feeder a customer's two legs are one place of 240 V; names lead back to loads."""
    folder = shared / "data/feeders/IEEETestCases"
    network = assemble(opendss.read_dss(folder / "8500-Node/Master-unbal.dss", folder)[0])
    found = places(network, initial(network))
    assert len(found) == 1177
    assert (found >= 0).all()
    assert len(set(elements(network))) == 2354
