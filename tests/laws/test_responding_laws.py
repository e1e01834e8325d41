"""The compiled curves of inverters answer as the array code does."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid.series import Category, Curves, respond
from gridflock.grid.series._responding import answered
from gridflock.grid.series._responding import settings as compiled

D, S = 40, 25


def drawn(rng):
    """Inverters of every mode, priority and kind, some at the edges of their ratings."""
    s_kva = rng.uniform(1.0, 50.0, D)
    charge = np.where(rng.random(D) < 0.4, s_kva * rng.uniform(0.2, 1.0, D), 0.0)
    c = Curves.defaults(s_kva, Category(int(rng.integers(0, 2))), p_charge_kw=charge)
    return replace(
        c,
        p_kw=s_kva * rng.uniform(0.5, 1.0, D),
        mode=rng.integers(0, 5, D).astype(np.uint8),
        priority=rng.integers(0, 2, D).astype(np.uint8),
        power_factor=rng.uniform(0.7, 1.0, D),
        absorbing=rng.random(D) < 0.5,
        q_pu=rng.uniform(-0.5, 0.5, D),
        volt_watt=rng.random(D) < 0.5,
        steady=rng.random(D) < 0.5,
        q_inject_kvar=s_kva * rng.uniform(0.3, 1.0, D),
    )


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_compiled_curves_are_the_curves(seed):
    """Every mode at random powers and voltages: both forms agree to rounding, ports share equally."""
    rng = np.random.default_rng(seed)
    curves = drawn(rng)
    start = np.concatenate([[0], np.cumsum(rng.integers(1, 4, D))]).astype(np.int32)
    counts = np.diff(start)
    p_kw = rng.uniform(-1.5, 1.5, (S, D)) * curves.s_kva
    step = rng.integers(0, S, S).astype(np.int32)
    seen = rng.uniform(0.85, 1.15, (S, start[-1]))
    found = np.empty(seen.shape, dtype=complex)
    answered(compiled(curves, start), p_kw, step, seen, found)
    p, q = respond(curves, p_kw[step], np.add.reduceat(seen, start[:-1], axis=1) / counts)
    expected = np.repeat((p + 1j * q) / counts, counts, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)
