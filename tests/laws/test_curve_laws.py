"""Laws of the inverter curves."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gridflock.grid.series._curves import (
    Category,
    Curves,
    Priority,
    ReactiveMode,
    along,
    capability,
    faults,
    respond,
)

SHARES = st.floats(-1.0, 1.0)
VOLTS = st.floats(0.5, 1.5)
MODES = st.sampled_from(list(ReactiveMode))
CATEGORIES = st.sampled_from(list(Category))


def one(mode, category=Category.B, **columns):
    """One 10 kVA storage inverter."""
    base = Curves.defaults(np.array([10.0]), category, mode, 10.0)
    return replace(base, **{name: np.array([value]) for name, value in columns.items()})


@given(
    MODES,
    CATEGORIES,
    st.sampled_from(list(Priority)),
    st.booleans(),
    SHARES,
    VOLTS,
    SHARES,
    st.floats(0.3, 1.0),
)
def test_the_answer_stays_inside_every_limit(mode, category, priority, volt_watt, share, v, q_pu, pf):
    """Apparent power, capability at the given active power, and no more active power than is there."""
    c = one(mode, category, priority=np.uint8(priority), volt_watt=volt_watt, q_pu=q_pu, power_factor=pf)
    p, q = respond(c, np.array([10.0 * share]), np.array([v]))
    assert np.hypot(p, q)[0] <= 10.0 * (1 + 1e-12)
    assert -c.q_absorb_kvar[0] - 1e-12 <= q[0] <= c.q_inject_kvar[0] + 1e-12
    assert abs(p[0]) <= 10.0 * abs(share) + 1e-12
    assert p[0] * share >= 0.0


@given(SHARES, VOLTS, VOLTS, CATEGORIES)
def test_volt_var_never_rises_with_voltage(share, v_one, v_other, category):
    """A higher voltage never draws more reactive injection, so a feeder has one answer."""
    low, high = sorted((v_one, v_other))
    c = one(ReactiveMode.VOLT_VAR, category)
    _, q = respond(c, np.array([[10.0 * share], [10.0 * share]]), np.array([[low], [high]]))
    assert q[1, 0] <= q[0, 0] + 1e-12


@given(SHARES, VOLTS, VOLTS)
def test_volt_watt_never_rises_with_voltage(share, v_one, v_other):
    """A higher voltage never lets more active power through."""
    low, high = sorted((v_one, v_other))
    c = one(ReactiveMode.UNITY, volt_watt=True)
    p, _ = respond(c, np.full((2, 1), 10.0 * share), np.array([[low], [high]]))
    assert p[1, 0] <= p[0, 0] + 1e-12


@given(st.floats(0.05, 1.0), st.floats(0.9, 1.0), st.booleans())
def test_constant_power_factor_is_kept(share, pf, absorbing):
    """Inside capability and rating the ratio of active to apparent power is the set one."""
    c = one(ReactiveMode.POWER_FACTOR, power_factor=pf, absorbing=absorbing)
    p, q = respond(c, np.array([10.0 * share]), np.array([1.0]))
    if abs(q[0]) < 4.4 - 1e-9:
        assert abs(p[0] / np.hypot(p, q)[0] - pf) < 1e-9
    assert q[0] <= 0.0 if absorbing else q[0] >= 0.0


@given(st.lists(st.tuples(MODES, SHARES, VOLTS), min_size=2, max_size=8))
def test_rows_do_not_know_each_other(rows):
    """A fleet answers as its inverters do one by one, in any order and shape."""
    modes, shares, volts = zip(*rows, strict=True)
    p, v = 10.0 * np.array(shares), np.array(volts)
    c = replace(
        Curves.defaults(np.full(len(rows), 10.0), p_charge_kw=10.0), mode=np.array(modes, dtype=np.uint8)
    )
    together = np.stack(respond(c, np.stack([p, p]), np.stack([v, v])))
    for k, mode in enumerate(modes):
        alone = np.stack(respond(one(mode), p[k : k + 1], v[k : k + 1]))
        np.testing.assert_array_equal(together[:, 0, k], alone[:, 0])
    np.testing.assert_array_equal(together[:, 0], together[:, 1])


@given(
    st.lists(
        st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=2, max_size=6, unique_by=lambda at: at[0]
    )
)
def test_a_curve_passes_through_its_points(points):
    """At its points a curve has their values; beyond the ends it stays flat."""
    x, y = np.array(sorted(points)).T
    width = np.diff(x)
    if width.min() < 1e-6:
        return
    read = along(np.array([[x[0] - 1], *([at] for at in x), [x[-1] + 1]]), x[None], y[None])[:, 0]
    np.testing.assert_allclose(read, [y[0], *y, y[-1]], atol=1e-9)


def test_little_active_power_gives_little_reactive_power():
    """Clause 5.2: nothing below 5 %, in proportion to 20 %, then all; storage gives all at any power."""
    c = Curves.defaults(np.array([10.0]))
    share = np.array([0.04, 0.05, 0.1, 0.2, 0.9])
    inject, absorb = capability(c, 10.0 * share[:, None])
    np.testing.assert_allclose(inject[:, 0], [0.0, 1.1, 2.2, 4.4, 4.4])
    np.testing.assert_allclose(absorb, inject)
    inject, _ = capability(one(ReactiveMode.VOLT_VAR), 10.0 * share[:, None])
    np.testing.assert_allclose(inject[:, 0], 4.4)


def test_settings_that_cannot_be_are_named():
    """A negative rating, descending voltages, a jump and a NaN: row, column and rule of each."""
    c = Curves.defaults(np.array([10.0, 10.0, 10.0, 10.0]))
    s_kva = c.s_kva.copy()
    s_kva[0] = -1.0
    volts, q, factor = c.vv_v_pu.copy(), c.vv_q_pu.copy(), c.power_factor.copy()
    volts[1, 2] = 0.5
    volts[2, 1:3], q[2, 1] = 1.0, 0.2
    factor[3] = np.nan
    found = faults(replace(c, s_kva=s_kva, vv_v_pu=volts, vv_q_pu=q, power_factor=factor))
    assert {(0, "s_kva"), (1, "vv_v_pu"), (2, "vv_v_pu"), (3, "power_factor")} <= {at[:2] for at in found}
    assert not faults(c)
