"""The border between two systems on the wire: whole round trips, and nothing hostile gets in."""

import json

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.field.peer import (
    Peer,
    Unanswered,
    directive_from,
    directive_said,
    standing_from,
    standing_said,
)
from gridflock.model import Allowance, Directive, Rejected, Standing
from gridflock.units import TimeGrid

START = 1_750_000_000
POWER = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def allowances(draw):
    """Bounds of a few steps, some of them endless."""
    steps = draw(st.integers(1, 6))
    low = np.array(draw(st.lists(st.one_of(POWER, st.just(-np.inf)), min_size=steps, max_size=steps)))
    high = np.maximum(low, draw(POWER))
    high[draw(st.integers(0, steps - 1))] = np.inf
    default = -5.0, draw(st.floats(0, 9))
    return Allowance(TimeGrid.uniform(START, draw(st.integers(1, 900)), steps), low, high, default)


def same(one, other):
    """Equal bounds."""
    assert np.array_equal(one.grid.edges_s, other.grid.edges_s)
    assert np.array_equal(one.lo_kw, other.lo_kw)
    assert np.array_equal(one.hi_kw, other.hi_kw)
    assert one.default_kw == other.default_kw


@settings(max_examples=60, deadline=None)
@given(bounds=allowances(), number=st.integers(0, 10**9), price=st.floats(-5, 5))
def test_what_is_said_is_what_is_heard(bounds, number, price):
    """Directives and standings come out of JSON as they went in, with endless bounds and absent wishes."""
    want = np.where(np.arange(bounds.grid.n) % 2 == 0, np.nan, 1.5)
    sent = Directive("north", START, number, START + 30, bounds, want, np.full(bounds.grid.n, price))
    got = directive_from(json.loads(json.dumps(directive_said(sent), allow_nan=False)))
    assert isinstance(got, Directive)
    same(sent.allowance, got.allowance)
    assert (got.child, got.order, got.accept_until_s) == ("north", sent.order, START + 30)
    assert np.array_equal(got.want_kw, want, equal_nan=True)
    told = Standing("north", START, -1, -1, bounds, -3.25, (-9.0, 4.0), want)
    heard = standing_from(json.loads(json.dumps(standing_said(told), allow_nan=False)))
    assert isinstance(heard, Standing)
    same(told.kept, heard.kept)
    assert (heard.p_kw, heard.able_kw, heard.epoch) == (-3.25, (-9.0, 4.0), -1)
    assert np.isnan(heard.cost)


def good():
    """A directive that breaks no rule."""
    bounds = Allowance(TimeGrid.uniform(START, 60, 2), np.full(2, -5.0), np.full(2, 5.0), (-1.0, 1.0))
    return directive_said(Directive("north", START, 1, START + 30, bounds, np.zeros(2), np.zeros(2)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("child", 3),
        ("child", "x" * 999),
        ("child", "a\nb"),
        ("epoch", 1.5),
        ("number", True),
        ("number", 2**60),
        ("want_kw", [0.0]),
        ("want_kw", [0.0, "5"]),
        ("price", [1e300, 0.0]),
        ("allowance", None),
        ("allowance", []),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(field, value):
    """Wrong types, sizes and lengths are values that name their field, and raise nothing."""
    found = directive_from(good() | {field: value})
    assert isinstance(found, Rejected)
    assert found.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"edges_s": list(range(5_000))}, "allowance.edges_s"),
        ({"edges_s": [3, 2, 1]}, "allowance.edges_s"),
        ({"edges_s": [1]}, "allowance.edges_s"),
        ({"lo_kw": [9.0, 0.0]}, "allowance.lo_kw"),
        ({"default_kw": [1.0, -1.0]}, "default_kw"),
        ({"hi_kw": None}, "hi_kw"),
    ],
)
def test_bounds_that_break_a_rule_are_named(change, field):
    """Grids that do not ascend or do not end, crossed bounds and a missing default are refused by name."""
    document = good()
    found = directive_from(document | {"allowance": document["allowance"] | change})
    assert isinstance(found, Rejected)
    assert found.field == field


def test_a_token_never_goes_in_the_clear():
    """Another host is reached by https only."""
    with pytest.raises(ValueError, match="https"):
        Peer("north", "http://north.example:8080", "secret")
    Peer("north", "http://127.0.0.1:8080", "secret").close()
    Peer("north", "https://north.example", "secret").close()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"location": "http://elsewhere"}),
        httpx.Response(200, content=b"not json"),
        httpx.Response(200, json=[1, 2]),
        httpx.Response(200, json={"child": "north"}),
        httpx.Response(200, content=b'{"a": "' + b"x" * 2_000_000 + b'"}'),
    ],
)
def test_an_answer_that_is_none_is_one_kind_of_trouble(answer):
    """Errors, redirects, other texts and endless ones end as ``Unanswered``; redirects are not followed."""
    peer = Peer("north", "http://localhost", "secret", httpx.MockTransport(lambda _: answer))
    with pytest.raises(Unanswered):
        peer.standing()
    peer.close()
