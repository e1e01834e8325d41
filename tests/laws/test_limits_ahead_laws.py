"""Laws of limits ahead: what takes no orders is laid on the loads without bound to none of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gridflock.runtime._limits_ahead import spread

KW = st.lists(st.floats(-500.0, 500.0), min_size=1, max_size=8)


@given(KW, st.floats(-600.0, 600.0))
def test_no_load_takes_more_than_there_is(loads, outside_kw):
    """Whatever cancels out whatever: shares lie between 0 and 1, and sum to 1 less what is lost."""
    known = np.array(loads) * (1.0 + 0.3j)
    share = spread(known, np.full(len(loads), -10.0 - 3.0j), outside_kw)
    assert (share.real >= 0.0).all()
    assert 0.8 - 1e-9 <= share.real.sum() <= 1.0 + 1e-9
    assert np.abs(share).max() < 1.1


def test_the_present_is_given_back():
    """Where everybody draws, the demand of now gives the loads of now, with their reactive power."""
    known = np.array([-10.0 - 3.0j, -30.0 - 4.0j, 0.0])
    assert np.allclose(spread(known, known, -42.0) * -42.0, known)
    assert np.allclose(spread(0.0 * known, known, 0.0) * -40.0, known)
    assert not spread(0.0 * known, 0.0 * known, 0.0).any()
