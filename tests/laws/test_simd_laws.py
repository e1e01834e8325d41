"""Vectors of lanes as values in compiled code behave like NumPy on the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from gridflock.grid.lanes import _simd
from gridflock.grid.lanes._plan import aligned
from gridflock.grid.lanes._simd import (
    after,
    begin,
    lanes_of,
    load,
    pick,
    root,
    size,
    splat,
    store,
    stream,
    transpose,
    where_less,
    zeros_like,
)

pytestmark = pytest.mark.skipif(not _simd.works(), reason="this numba cannot make vectors: plain loops serve")
DTYPES = ["float32", "float64"]


@njit
def _arithmetic(left, right, scalar, out):
    a, b, o = load(begin(left), 0), load(begin(right), 0), begin(out)
    lanes = lanes_of(o)
    store(o, 0, a + b)
    store(o, lanes, a - b)
    store(o, 2 * lanes, a * b)
    store(o, 3 * lanes, a / b)
    store(o, 4 * lanes, a * scalar)
    store(o, 5 * lanes, scalar - a)
    stream(o, 6 * lanes, splat(a, scalar) + zeros_like(a))


@njit
def _choices(left, right, out):
    a, b, o = load(begin(left), 0), load(begin(right), 0), begin(out)
    lanes = lanes_of(o)
    store(o, 0, min(a, b))
    store(o, lanes, max(a, b))
    store(o, 2 * lanes, root(size(a)))
    store(o, 3 * lanes, where_less(a, b, a * 2.0, 0.0))
    store(o, 4 * lanes, max(a, 0.5))


@njit
def _turn(square):
    transpose(begin(square), 0)


@njit
def _third(numbers):
    return pick(after(begin(numbers), 1), 2)


@njit
def _largest(values, out):
    place = begin(values)
    lanes = lanes_of(place)
    worst = zeros_like(load(place, 0))
    for k in range(len(values) // lanes):
        worst = max(load(place, k * lanes), worst)
    store(begin(out), 0, worst)


def _vector(dtype, numbers):
    lanes = _simd.width(dtype)
    vector = aligned(lanes, dtype)
    vector[:] = np.resize(np.array(numbers), lanes)
    return vector


numbers = st.lists(
    st.floats(-1e3, 1e3, width=32).filter(lambda x: x == 0.0 or abs(x) > 1e-3), min_size=3, max_size=16
)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None)
@given(left=numbers, right=numbers, scalar=st.floats(-10.0, 10.0, width=32))
def test_arithmetic_is_lane_by_lane(dtype, left, right, scalar):
    """Sums, products and quotients of vectors, and of a vector and a scalar, are NumPy's."""
    a, b = _vector(dtype, left), _vector(dtype, right)
    b[b == 0.0] = 1.0
    out = aligned(7 * len(a), dtype)
    _arithmetic(a, b, scalar, out)
    wanted = [a + b, a - b, a * b, a / b, a * scalar, scalar - a, np.full_like(a, scalar)]
    precision = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(out.reshape(7, -1), wanted, rtol=precision, atol=precision * 1e3)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None)
@given(left=numbers, right=numbers)
def test_choices_take_no_branch_and_the_right_lane(dtype, left, right):
    """Minimum, maximum, square root, absolute value and selection are NumPy's, lane by lane."""
    a, b = _vector(dtype, left), _vector(dtype, right)
    out = aligned(5 * len(a), dtype)
    _choices(a, b, out)
    wanted = [np.minimum(a, b), np.maximum(a, b), np.sqrt(np.abs(a)), np.where(a < b, 2.0 * a, 0.0)]
    wanted.append(np.maximum(a, np.array(0.5, dtype=dtype)))
    np.testing.assert_allclose(out.reshape(5, -1), wanted, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_of_vectors_is_transposed_in_place(dtype):
    """W vectors of W lanes become their transpose."""
    lanes = _simd.width(dtype)
    square = aligned(lanes * lanes, dtype)
    square[:] = np.arange(lanes * lanes)
    _turn(square)
    assert (square.reshape(lanes, lanes) == np.arange(lanes * lanes).reshape(lanes, lanes).T).all()


@pytest.mark.parametrize("dtype", [*DTYPES, "int32"])
def test_places_count_elements(dtype):
    """``after`` and ``pick`` move by elements, whatever their size."""
    assert _third(np.arange(5, dtype=dtype)) == 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_stays_visible_in_the_last_value(dtype):
    """A maximum does not replace a last value that is not a number by a smaller number."""
    lanes = _simd.width(dtype)
    values, out = aligned(3 * lanes, dtype), aligned(lanes, dtype)
    values[:] = 1.0
    values[2 * lanes] = np.nan
    _largest(values, out)
    assert np.isnan(out[0])
    assert (out[1:] == 1.0).all()
