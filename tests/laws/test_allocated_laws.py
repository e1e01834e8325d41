"""Laws of envelopes of single resources: together they keep groups' limits, and nobody is told to move."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.field.ieee2030_5._limiting import Ahead
from gridflock.runtime.devices._allocated import Bound, ahead, shared, tightened
from gridflock.runtime.devices._worth import room
from gridflock.schema import Family

STEPS = 3
KW = st.floats(-50, 50).map(lambda kw: round(kw, 2))


@st.composite
def cases(draw):
    """Up to eight resources, some of them told, in up to three groups with limits."""
    n = draw(st.integers(1, 8))
    rows = np.arange(n, dtype=np.int32)
    told = rows[np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)]
    high = np.array(draw(st.lists(st.sampled_from([0.0, 3.0, 5.0, 12.0]), min_size=n, max_size=n)))
    low = -np.array(draw(st.lists(st.sampled_from([0.0, 2.0, 5.0]), min_size=n, max_size=n)))
    bounds = []
    for _ in range(draw(st.integers(0, 3))):
        members = rows[np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)]
        others = np.array(draw(st.lists(KW, min_size=STEPS, max_size=STEPS)))
        most = np.array(draw(st.lists(KW | st.just(np.inf), min_size=STEPS, max_size=STEPS)))
        least = np.array(draw(st.lists(KW | st.just(-np.inf), min_size=STEPS, max_size=STEPS)))
        bounds.append(Bound(members, np.minimum(least, most), most, others))
    return bounds, told, low[told], high[told], n


@settings(max_examples=150)
@given(cases(), st.integers(0, 2**32 - 1))
def test_within_their_shares_the_told_keep_every_limit_that_can_be_kept(case, seed):
    """Anything they do within their bounds leaves each group within its limit, if the others alone are."""
    bounds, told, low, high, n = case
    p_lo, p_hi = shared(bounds, told, low, high, STEPS)
    rng = np.random.default_rng(seed)
    power = np.zeros((n, STEPS))
    power[told] = p_lo + rng.random(p_lo.shape) * (p_hi - p_lo)
    for bound in bounds:
        mine = power[np.intersect1d(bound.rows, told)].sum(axis=0)
        total = bound.others_kw + mine
        kept = bound.others_kw <= bound.p_hi_kw
        assert (total <= bound.p_hi_kw + 1e-6)[kept].all()
        kept = bound.others_kw >= bound.p_lo_kw
        assert (total >= bound.p_lo_kw - 1e-6)[kept].all()


@given(cases())
def test_shares_lie_within_the_rating_and_around_nothing(case):
    """Never beyond the nameplate, and standing still is always allowed."""
    bounds, told, low, high, _ = case
    p_lo, p_hi = shared(bounds, told, low, high, STEPS)
    assert (p_lo >= low[:, None] - 1e-9).all()
    assert (p_hi <= high[:, None] + 1e-9).all()
    assert (p_lo <= 0).all()
    assert (p_hi >= 0).all()


@given(cases())
def test_without_limits_everybody_has_the_whole_rating(case):
    """What nothing bounds is the nameplate."""
    _, told, low, high, _ = case
    p_lo, p_hi = shared([], told, low, high, STEPS)
    np.testing.assert_allclose(p_lo, np.repeat(low[:, None], STEPS, axis=1), atol=1e-9)
    np.testing.assert_allclose(p_hi, np.repeat(high[:, None], STEPS, axis=1), atol=1e-9)


@given(cases(), st.integers(0, 2**32 - 1))
def test_who_was_granted_energy_has_the_power_for_it_first(case, seed):
    """All that is granted is left where there is room for all of it; limits are kept as ever."""
    bounds, told, low, high, _ = case
    rng = np.random.default_rng(seed)
    granted = np.where(
        rng.random((len(told), STEPS)) < 0.5, 0.0, rng.uniform(low, high, (STEPS, len(told))).T
    )
    p_lo, p_hi = shared(bounds, told, low, high, STEPS, granted)
    plain = shared(bounds, told, low, high, STEPS, np.zeros(granted.shape))
    assert all(
        np.array_equal(*each) for each in zip(plain, shared(bounds, told, low, high, STEPS), strict=True)
    )
    room = np.ones(STEPS, dtype=bool)
    for bound in bounds:
        mine = np.isin(told, bound.rows)
        up, down = np.maximum(granted, 0)[mine].sum(axis=0), np.minimum(granted, 0)[mine].sum(axis=0)
        room &= (bound.others_kw + up <= bound.p_hi_kw) | (up == 0)
        room &= (bound.others_kw + down >= bound.p_lo_kw) | (down == 0)
        kept = bound.others_kw <= bound.p_hi_kw
        assert (bound.others_kw + p_hi[mine].sum(axis=0) <= bound.p_hi_kw + 1e-6)[kept].all()
    grain = 0.01 * np.maximum(high, -low)[:, None] + 1e-9  # limits are told in parts of a rating
    assert (p_hi >= np.maximum(granted, 0) - grain)[:, room].all()
    assert (p_lo <= np.minimum(granted, 0) + grain)[:, room].all()


@given(cases(), st.floats(0, 20))
def test_a_tighter_limit_gives_nobody_more(case, less):
    """Taken from a group's limit, nothing is gained by anybody."""
    bounds, told, low, high, _ = case
    wide_lo, wide_hi = shared(bounds, told, low, high, STEPS)
    tight = [Bound(b.rows, b.p_lo_kw, b.p_hi_kw - less, b.others_kw) for b in bounds]
    tight_lo, tight_hi = shared(tight, told, low, high, STEPS)
    assert (tight_hi <= wide_hi + 1e-9).all()
    np.testing.assert_array_equal(tight_lo, wide_lo)


EDGES = 900 * np.arange(7, dtype=np.int64)


def _ahead(high):
    high = np.asarray(high, dtype=float)
    names = tuple(f"r{k}" for k in range(len(high)))
    return Ahead(names, EDGES, np.zeros_like(high), high)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_what_is_tightened_holds_soon_and_is_told_seldom(limits, seed):
    """The next half hour keeps to every limit so far, much less holds ahead too, small steps are few."""
    rng = np.random.default_rng(seed)
    known, told, most = _ahead(np.full((2, 6), 10.0)), 0, np.full(2, 10.0)
    for kw in limits:
        now = _ahead(np.clip(kw + rng.random((2, 6)), 0, 10))
        then = tightened(known, now, np.zeros(2), most)
        told += then is not known
        assert (then.p_hi_kw <= known.p_hi_kw + 1e-9).all()
        assert (then.p_hi_kw >= 0).all()
        assert (then.p_hi_kw <= now.p_hi_kw + 1e-9)[:, :2].all()
        assert (then.p_hi_kw <= now.p_hi_kw + 1.0 + 1e-9).all()
        known = then
    assert told <= 2 * 2 * 20 + 2 * 10
    little = _ahead(np.repeat([[9.95], [10.0]], 6, axis=1))
    soon = tightened(_ahead(np.full((2, 6), 10.0)), little, np.zeros(2), most)
    np.testing.assert_allclose(soon.p_hi_kw[0], [9.5, 9.5, 10, 10, 10, 10])


def _system(*names, **rows_of):
    count = len(names)
    fleet = SimpleNamespace(
        ids=names, row_of={name: k for k, name in enumerate(names)}, family=[Family.VEHICLE] * count,
        columns={"p_min_kw": np.full(count, -10.0), "p_max_kw": np.full(count, 10.0)},
    )  # fmt: skip
    return SimpleNamespace(fleet=fleet, rows_of={"all": np.arange(count)} | rows_of)


def test_a_limit_of_the_moment_outlasts_the_quarter_in_which_devices_ask_again():
    """A voltage limit that is told late in a quarter of an hour holds in the whole of the next as well."""
    moment = SimpleNamespace(
        now_s=1_800 + 890, planned=None, head_kw=0.0, image=SimpleNamespace(p_kw=np.zeros(1)),
        envelopes=[SimpleNamespace(group="bus", p_lo_kw=-np.inf, p_hi_kw=3.0)],
    )  # fmt: skip
    found = ahead(moment, _system("a", bus=np.array([0])), ["a"], 3_600)
    assert found.edges_s[0] == 1_800
    assert found.p_hi_kw[0].tolist() == [3.0, 3.0, 10.0, 10.0, 10.0]


def test_what_is_planned_is_no_room():
    """At its limit the head has none, whoever is planned; what is planned for one is told beside."""
    planned = SimpleNamespace(
        schedule=SimpleNamespace(
            grid=SimpleNamespace(edges_s=np.array([0, 3_600])), net_kw=np.array([-100.0]),
            shares=SimpleNamespace(rows=np.array([0]), p_kw=np.array([[-7.0]])),
        ),
        terms=SimpleNamespace(
            import_limit_kw=np.array([100.0]), export_limit_kw=np.array([100.0]), import_price=np.array([0.1])
        ),
    )  # fmt: skip
    free = room(planned, _system("a", "b"), ["a", "b"], 0)
    assert (free.import_kw[0], free.export_kw[0], free.planned_kw["a"][0]) == (0.0, 200.0, -7.0)
