"""Thermostats and water heaters: their physics, the one store of a plan, and the error of whole loads."""

import numpy as np
import pytest

from gridflock.plan.devices.whole import Population, leaky_bands, realise

QUARTERS = np.full(16, 0.25)


def switches(rng, n):
    """Sizes, timers and states of n loads."""
    return {
        "p_on_kw": -rng.uniform(1.0, 5.0, n),
        "min_on_s": rng.choice([0, 120, 300], n),
        "min_off_s": rng.choice([0, 120, 300], n),
        "on": (rng.random(n) < 0.4).astype(np.uint8),
        "locked_s": rng.choice([0.0, 90.0], n),
    }


def rooms(rng, n, steps, cools=None):
    """Random rooms, some heated and some cooled unless told, inside their bands."""
    low = rng.uniform(18.0, 21.0, n)
    high = low + rng.uniform(1.0, 3.0, n)
    cools = rng.random(n) < 0.5 if cools is None else np.full(n, cools)
    return {
        "cools": cools,
        "capacity_kwh_k": rng.uniform(1.0, 5.0, n),
        "loss_kw_k": rng.uniform(0.05, 0.3, n),
        "cop": rng.uniform(2.0, 4.0, n),
        "low_c": low,
        "high_c": high,
        "now_c": rng.uniform(low, high),
        "outside_c": np.where(cools[:, None], 33.0, 2.0) + rng.normal(0.0, 2.0, (n, steps)),
        "gain_kw": rng.uniform(0.0, 0.3, (n, steps)),
    }


def heaters(rng, n, steps):
    """Random hot-water tanks under random draws."""
    return Population.water_heaters(
        litres=rng.uniform(100.0, 300.0, n),
        loss_kw_k=rng.uniform(0.001, 0.003, n),
        low_c=np.full(n, 50.0),
        high_c=np.full(n, 65.0),
        now_c=rng.uniform(52.0, 63.0, n),
        room_c=np.full(steps, 18.0),
        inlet_c=np.full(steps, 10.0),
        drawn_l_h=rng.exponential(6.0, (n, steps)),
        **switches(rng, n),
    )


def test_contents_follow_the_temperatures_of_rooms():
    """A room's own equation, by many small steps, ends where the content says, heated or cooled."""
    rng = np.random.default_rng(61)
    given = rooms(rng, 200, 2)
    of = Population.thermostats(**given, **switches(rng, 200))
    drawn = rng.uniform(0.0, 4.0, 200)
    content = of.after(of.e_now_kwh, drawn, 1, 0.75)
    temperature, small = given["now_c"].copy(), 0.75 / 20_000
    moved = np.where(given["cools"], -1.0, 1.0) * given["cop"] * drawn
    for _ in range(20_000):
        leaves = given["loss_kw_k"] * (temperature - given["outside_c"][:, 1])
        temperature += small * (moved + given["gain_kw"][:, 1] - leaves) / given["capacity_kwh_k"]
    edge = np.where(given["cools"], given["high_c"] - temperature, temperature - given["low_c"])
    np.testing.assert_allclose(content, given["capacity_kwh_k"] * edge / given["cop"], atol=1e-3)
    full = (given["high_c"] - given["low_c"]) * given["capacity_kwh_k"] / given["cop"]
    np.testing.assert_allclose(of.band_kwh, full)


@pytest.mark.parametrize("hours", [QUARTERS, np.array([0.25, 1.0, 0.5, 2.0])])
def test_equally_full_loads_are_one_leaky_store(hours):
    """Uneven loads kept equally full: the row's content, fed with their sum, is theirs."""
    rng = np.random.default_rng(62)
    n, steps = 50, len(hours)
    of = Population.thermostats(**rooms(rng, n, steps), **switches(rng, n))
    full = rng.uniform(0.3, 0.7, steps + 1)
    start = full[0] * of.band_kwh
    of = Population(**{name: getattr(of, name) for name in Population.__slots__} | {"e_now_kwh": start})
    bands = leaky_bands([of], hours)
    keep, x, whole = (1.0 - bands.loss_per_hour[0]) ** hours, 0.0, of.band_kwh.sum()
    even = np.ptp(hours) == 0.0
    shift = (bands.x_lo_kwh[0] + bands.x_hi_kwh[0] + 2.0 * start.sum() - whole) / 2.0
    for t in range(steps):
        content = full[t] * of.band_kwh
        nothing, one = of.after(content, np.zeros(n), t, hours[t]), of.after(content, np.ones(n), t, hours[t])
        drawn = (full[t + 1] * of.band_kwh - nothing) / (one - nothing)
        change = -drawn.sum() - bands.base_kw[0, t]
        x = keep[t] * x + bands.gain_up[0] * change * hours[t]
        assert abs((x + start.sum() - shift[t + 1]) / whole - full[t + 1]) <= (1e-9 if even else 0.05)


def test_a_row_at_rest_holds_its_content_or_says_how_its_band_moves():
    """In a cold snap beyond all nameplates the band falls below what can be held, and nowhere else."""
    rng = np.random.default_rng(63)
    given = rooms(rng, 40, 16, cools=False)
    given["outside_c"][:, 8:12] = -60.0
    of = Population.thermostats(**given, **switches(rng, 40))
    bands = leaky_bands([of], QUARTERS, margin=0.1, cost=0.01, end_value=0.1)
    rated, whole = -of.p_on_kw.sum(), of.band_kwh.sum()
    np.testing.assert_allclose(bands.up_kw + bands.down_kw, rated)
    assert (bands.base_kw[0, 8:12] == -rated).all()
    width = bands.x_hi_kwh - bands.x_lo_kwh
    np.testing.assert_allclose(width, 0.8 * whole)
    np.testing.assert_allclose(bands.x_lo_kwh[0, :9], 0.1 * whole - of.e_now_kwh.sum(), atol=1e-9)
    assert (np.diff(bands.x_lo_kwh[0, 8:13]) > 0.0).all()


def by_turns(of, planned, hours, every_s):
    """The same loads one by one in plain Python: temperatures in small steps, everybody sorted."""
    n, content = len(of.on), of.e_now_kwh.astype(float).tolist()
    on, free = of.on.astype(bool).tolist(), of.locked_s.tolist()
    sums, now = [], 0.0
    for t, length in enumerate(hours):
        moments, total = round(length * 3600 / every_s), 0.0
        for _ in range(moments):
            full = [np.float32(content[i] / of.band_kwh[i]) for i in range(n)]
            before = on.copy()
            for i in range(n):
                if free[i] <= now and not 0.0 < full[i] < 1.0:
                    on[i] = bool(full[i] <= 0.0)
            gap = planned[t] - sum(of.p_on_kw[i] for i in range(n) if on[i])
            movable = [i for i in range(n) if free[i] <= now and 0.0 < full[i] < 1.0 and on[i] == (gap > 0)]
            movable.sort(key=lambda i: -full[i] if gap > 0 else full[i])
            reached = np.concatenate([[0.0], np.cumsum([-of.p_on_kw[i] for i in movable])])
            for i in movable[: int(np.argmin(np.abs(abs(gap) - reached)))]:
                on[i] = not on[i]
            for i in range(n):
                if on[i] != before[i]:
                    # A switch is heard one moment later, and its time counts from then; no time is unheard.
                    least = of.min_on_s[i] if on[i] else of.min_off_s[i]
                    timed = of.min_on_s[i] > 0 or of.min_off_s[i] > 0
                    free[i] = now + every_s + (max(least, every_s + 1) if timed else 0)
                for _ in range(300):
                    flow = on[i] * -of.p_on_kw[i] - of.need_kw[i, t] - of.loss_per_h[i] * content[i]
                    content[i] += flow * every_s / 3600 / 300
                total += on[i] * of.p_on_kw[i] / moments
            now += every_s
        sums.append(total)
    return np.array(sums)


def test_the_stated_error_bounds_the_true_one():
    """Loads followed one by one make the sums that are given; no sum misses by more than stated."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        of = heaters(rng, 12, 4)
        planned = of.p_on_kw.sum() * rng.uniform(0.0, 0.6, 4)
        hours = np.array([0.25, 0.25, 0.5, 0.25])
        found = realise(of, planned, hours, 1_700_000_000)
        true = by_turns(of, planned, hours, 60)
        np.testing.assert_allclose(found.sum_kw, true, atol=1e-4)
        assert (np.abs(true - planned) <= found.error_kw).all()


@pytest.mark.parametrize("seed", range(8))
def test_errors_are_rounding_where_nothing_holds_the_loads(seed):
    """Random plans: the sums miss by no more than stated, rounding is half a load at most."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([5, 40, 300]))
    of = Population.thermostats(**rooms(rng, n, 16), **switches(rng, n)) if seed % 2 else heaters(rng, n, 16)
    rated = -of.p_on_kw.sum()
    planned = -rated * np.clip(0.3 + 0.25 * np.cumsum(rng.normal(0.0, 0.5, 16)) / 4.0, 0.0, 1.0)
    found = realise(of, planned, QUARTERS, 0)
    np.testing.assert_allclose(found.p_kw.sum(axis=0, dtype=float), found.sum_kw)
    assert (np.abs(found.sum_kw - planned) <= found.error_kw).all()
    assert (found.rounding_kw <= of.rounding_kw + 1.01e-6 * rated).all()
    np.testing.assert_allclose(found.error_share * rated, found.error_kw)
    assert (found.p_kw <= 0.0).all()
    assert (found.p_kw >= of.p_on_kw[:, None] - 1e-5).all()


def test_a_plan_for_the_store_is_realised_within_comfort():
    """500 water heaters, a day of prices: the best plan comes true within 1 % of their power."""
    rng = np.random.default_rng(65)
    hours = np.full(96, 0.25)
    of = heaters(rng, 500, 96)
    bands = leaky_bands([of], hours, end_value=0.1)
    price = 0.1 + 0.05 * np.sin(np.arange(96) * 2 * np.pi / 96)[None] + rng.normal(0.0, 0.01, (1, 96))
    plan, _ = bands.nearest(price, np.broadcast_to(bands.base_kw, (1, 96)), 1e-5)
    found = realise(of, plan[0], hours, 1_700_000_000)
    assert (np.abs(found.sum_kw - plan[0]) <= found.error_kw).all()
    assert np.mean(found.error_share) <= 0.01
    assert found.outside <= 0.2


@pytest.mark.parametrize(
    ("field", "value", "ids"),
    [
        ("p_on_kw", [-1.0, 2.0, -1.0], ("b",)),
        ("band_kwh", [1.0, 2.0, -1.0], ("c",)),
        ("e_now_kwh", [np.nan, 2.0, np.inf], ("a", "c")),
        ("need_kw", np.full((3, 4), np.inf), ("a", "b", "c")),
        ("min_off_s", [1.0, 2.0], ()),
    ],
)
def test_loads_that_break_a_rule_are_named(field, value, ids):
    """Field and loads; a sound population has no refusals."""
    of = heaters(np.random.default_rng(66), 3, 4)
    assert of.rejected("abc") == ()
    wrong = Population(**{n: getattr(of, n) for n in Population.__slots__} | {field: np.array(value)})
    (refused,) = wrong.rejected("abc")
    assert (refused.field, refused.ids) == (field, ids)
