"""Every setting of inverters is one law: the table the lanes read answers as the curves themselves do."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid.lanes._inverter_law import powers
from gridflock.grid.series._curves import Category, Curves, ReactiveMode, faults, respond
from gridflock.grid.series._table import table

D, S = 60, 40


def drawn(rng, modes=tuple(ReactiveMode)):
    """Inverters of every mode, priority and kind, curves anywhere, some at the edge of their rating."""
    s_kva = rng.uniform(1.0, 50.0, D)
    charge = np.where(rng.random(D) < 0.5, s_kva * rng.uniform(0.2, 1.0, D), 0.0)
    c = Curves.defaults(s_kva, Category(int(rng.integers(0, 2))), p_charge_kw=charge)
    wv_q = np.sort(rng.uniform(0.0, 0.9, (D, 3)), axis=1)
    falling = np.hstack([wv_q[:, ::-1], -rng.permuted(wv_q, axis=0)])
    own = rng.random(D) < 0.5
    return replace(
        c,
        p_kw=s_kva * np.where(rng.random(D) < 0.3, 1.0, rng.uniform(0.1, 1.0, D)),
        mode=rng.choice(np.array(modes), D).astype(np.uint8),
        priority=rng.integers(0, 2, D).astype(np.uint8),
        category=rng.integers(0, 2, D).astype(np.uint8),
        power_factor=np.where(rng.random(D) < 0.2, 1.0, rng.uniform(0.02, 1.0, D)),
        absorbing=rng.random(D) < 0.5,
        q_pu=rng.uniform(-1.0, 1.0, D),
        volt_watt=rng.random(D) < 0.5,
        vw_v_pu=np.sort(rng.uniform(0.9, 1.15, (D, 2)), axis=1),
        vw_p_pu=rng.uniform(-1.0, 1.0, (D, 2)),
        vv_v_pu=np.sort(rng.uniform(0.85, 1.15, (D, 4)), axis=1),
        vv_q_pu=rng.uniform(-1.0, 1.0, (D, 4)),
        wv_p_pu=np.where(own[:, None], np.sort(rng.uniform(-1.0, 1.0, (D, 6)), axis=1), c.wv_p_pu),
        wv_q_pu=np.where(own[:, None], falling, c.wv_q_pu),
        steady=rng.random(D) < 0.5,
        q_inject_kvar=s_kva * np.where(rng.random(D) < 0.2, 1.0, rng.uniform(0.0, 1.0, D)),
        q_absorb_kvar=s_kva * np.where(rng.random(D) < 0.2, 0.0, rng.uniform(0.0, 1.0, D)),
    )


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1))
def test_one_law_holds_every_setting(seed):
    """Every mode, priority and limit at random powers and voltages: the table answers as the curves do."""
    rng = np.random.default_rng(seed)
    curves = drawn(rng)
    wrong = [row for row, _, _ in faults(curves)]
    curves = curves.rows(np.setdiff1d(np.arange(D), wrong).astype(np.int32))
    start = np.arange(curves.n + 1, dtype=np.int32)
    p_kw = rng.uniform(-1.3, 1.3, (S, curves.n)) * curves.s_kva
    v_pu = rng.uniform(0.8, 1.2, (S, curves.n))
    found = powers(table(curves, start, start[:-1]), p_kw / curves.s_kva, v_pu)
    wanted = np.stack(respond(curves, p_kw, v_pu)) / curves.s_kva
    np.testing.assert_allclose(np.stack(found), wanted, atol=1e-9)
