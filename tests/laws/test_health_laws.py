"""Laws of health: the probability to respond, what it promises, and how it forgets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._million import NOON_S, million
from gridflock.fleet._health import NEVER_ASKED, Health, HealthRules
from gridflock.model import OutcomeStatus
from gridflock.schema import Kind
from gridflock.units import DAY_S, HOUR_S

DRAWN = million(300, 2)
FLEET = DRAWN.fleet(None)
ALL = np.arange(300, dtype=np.int32)
A, P, R = (
    np.uint8(status) for status in (OutcomeStatus.ACCEPTED, OutcomeStatus.PARTIAL, OutcomeStatus.REFUSED)
)
seeds = st.integers(0, 2**32 - 1)


def outcomes(rng, m):
    """Rows, some of them unknown, with any outcome and any share."""
    kept = rng.choice([0.0, 0.1, 1 / 3, 0.9, 1.0, 2.0, np.nan], m)
    return rng.integers(-1, 301, m).astype(np.int32), rng.integers(0, 5, m).astype(np.uint8), kept


def by_definition(rules, told, now_s):
    """The posterior's mean of each row from all its outcomes, one after the other."""
    group = FLEET.columns["kind"].astype(int) * 100 + FLEET.columns["program"]
    kept, missed, since = np.zeros(300), np.zeros(300), np.zeros(300)
    usual = {}
    for rows, status, share, at_s in told:
        for row, code, part in zip(rows.tolist(), status.tolist(), share.tolist(), strict=True):
            if not 0 <= row < 300:
                continue
            value = float(code == A)
            if code == P:
                value = 0.5 if np.isnan(part) else round(min(max(part, 0.0), 1.0) * 256) / 256
            left = 2 ** (-1 / rules.half_life_asked - (at_s // 3600 - since[row]) * 3600 / rules.half_life_s)
            kept[row] = kept[row] * left + value
            missed[row] = missed[row] * left + 1 - value
            since[row] = at_s // 3600
            usual.setdefault((group[row], at_s // 3600 % 24), []).append((value, at_s // 3600))
    likely = np.empty(300)
    hour = now_s // 3600
    for row in range(300):
        hours = [hour % 24] if rules.hourly else range(24)
        mine = [pair for slot in hours for pair in usual.get((group[row], slot), [])]
        fading = [2 ** (-(hour - at) * 3600 / rules.half_life_s) for _, at in mine]
        good = sum(value * left for (value, _), left in zip(mine, fading, strict=True))
        mean = (good + rules.prior * rules.group_asked) / (sum(fading) + rules.group_asked)
        left = 2 ** (-(hour - since[row]) * 3600 / rules.half_life_s)
        sums = kept[row] * left, missed[row] * left
        likely[row] = (sums[0] + mean * rules.prior_asked) / (sum(sums) + rules.prior_asked)
    return np.maximum(likely, rules.floor)


@settings(deadline=None, max_examples=30)
@given(seeds, st.lists(st.integers(0, 400), max_size=4), st.booleans())
def test_the_columns_are_the_posterior(seed, sizes, hourly):
    """Compiled and grouped, the probability is that of the plain sums over all outcomes so far."""
    rng = np.random.default_rng(seed)
    rules = HealthRules(half_life_asked=5, half_life_s=3 * DAY_S, group_asked=7, hourly=hourly)
    health, told, now_s = Health(FLEET, rules), [], NOON_S
    for size in sizes:
        now_s += int(rng.integers(0, 2 * DAY_S))
        rows, status, kept = outcomes(rng, size)
        health.learn(rows, status, now_s, kept)
        told.append((rows, status, kept, now_s))
    now_s += int(rng.integers(0, 5 * DAY_S))
    likely = health.probability(now_s)
    np.testing.assert_allclose(likely, by_definition(rules, told, now_s), rtol=2e-5)
    some = rng.permutation(300)[:40]
    np.testing.assert_array_equal(health.probability(now_s, some), likely[some])
    asked = np.bincount(np.concatenate([rows[(rows >= 0) & (rows < 300)] for rows, *_ in told] + [ALL[:0]]))
    np.testing.assert_array_equal(health.asked[: len(asked)], asked)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 300), st.integers(2, 5))
def test_the_order_of_distinct_resources_is_irrelevant(seed, m, parts):
    """One call in any order gives the same bytes; cut into several calls, the same but for rounding."""
    rng = np.random.default_rng(seed)
    rows, order = rng.permutation(300)[:m].astype(np.int32), rng.permutation(m)
    _, status, kept = outcomes(rng, m)
    one, other, cut = Health(FLEET), Health(FLEET), Health(FLEET)
    one.learn(rows, status, NOON_S, kept)
    other.learn(rows[order], status[order], NOON_S, kept[order])
    for at in np.array_split(order, parts):
        cut.learn(rows[at], status[at], NOON_S, kept[at])
    assert one.probability(NOON_S).tobytes() == other.probability(NOON_S).tobytes()
    np.testing.assert_array_equal(one.kept, cut.kept)
    np.testing.assert_allclose(one.probability(NOON_S), cut.probability(NOON_S), rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    seeds,
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.floats(0.1, 1e4),
    st.floats(60.0, 900.0 * DAY_S),
    st.sampled_from(list(OutcomeStatus)),
)
def test_nobody_is_certain_and_nobody_is_lost(seed, prior, floor, half_life, half_life_s, status):
    """Whatever happens, however often, the probability stays at the floor or above and below 1."""
    rules = HealthRules(
        prior=prior, floor=floor, half_life_asked=half_life, half_life_s=half_life_s, prior_asked=0.5
    )
    health = Health(FLEET, rules)
    rng = np.random.default_rng(seed)
    for step in range(12):
        rows = np.repeat(ALL[rng.random(300) < 0.7], 20)
        health.learn(rows, np.full(len(rows), status, np.uint8), NOON_S + step * 5_000)
        likely = health.probability(NOON_S + step * 5_000)
        assert (likely >= floor).all()
        assert (likely < 1.0).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.97])
def test_it_converges_to_the_true_rate(rate):
    """Asked often enough, a resource's probability is its own rate, whatever the prior and its group."""
    rng = np.random.default_rng(int(rate * 100))
    own = np.where(ALL % 2 == 0, rate, 0.8)
    health = Health(FLEET, HealthRules(half_life_asked=400))
    for step in range(1_500):
        health.learn(ALL, np.where(rng.random(300) < own, A, R), NOON_S + 900 * step)
    likely = health.probability(NOON_S + 900 * step)
    # The effective sample is 2/(1 - keep) ≈ 1,150 outcomes: a deviation of at most 0.015.
    assert np.abs(likely - own).max() < 0.07
    assert abs(likely[::2].mean() - rate) < 0.01


def test_it_forgets():
    """After a change the new behaviour counts; unasked for long, a resource is what its group is."""
    health = Health(FLEET, HealthRules(half_life_asked=20, half_life_s=10 * DAY_S))
    for _ in range(60):
        health.learn(ALL, np.full(300, A), NOON_S)
    assert (health.probability(NOON_S) > 0.95).all()
    for _ in range(150):
        health.learn(ALL[:1], np.full(1, R), NOON_S)
    low = health.probability(NOON_S)[0]
    assert low < 0.15
    later = [health.probability(NOON_S + days * DAY_S)[0] for days in (0, 5, 20, 60, 300, 3_000)]
    assert (np.diff(later) > 0).all() or later[-1] == later[-2]
    assert later[-1] == pytest.approx(0.8)
    before = health.probability(NOON_S + 3_000 * DAY_S)
    health.learn(ALL[:1], np.full(1, A), NOON_S + 3_000 * DAY_S)
    assert health.probability(NOON_S + 3_000 * DAY_S)[0] > before[0]


def test_only_who_was_asked_is_judged():
    """An outcome moves its own resource at once and its group a little; others are what they were."""
    health = Health(FLEET)
    before = health.probability(NOON_S)
    np.testing.assert_allclose(before, 0.8)
    health.learn(ALL[:1], np.array([R]), NOON_S)
    after = health.probability(NOON_S)
    columns = FLEET.columns
    kin = (columns["kind"] == columns["kind"][0]) & (columns["program"] == columns["program"][0])
    assert after[0] < after[1:].min()
    assert kin.sum() > 1
    assert (after[kin][1:] < 0.8).all()
    assert (after[~kin] == before[~kin]).all()
    assert health.asked.sum() == 1
    assert (health.latest == NEVER_ASKED).sum() == 299
    assert health.latest[0] == R


def test_a_new_resource_is_expected_to_be_as_its_group_is():
    """What is usual is learnt by kind and programme, and by hour of the day where that is wanted."""
    group = FLEET.columns["kind"] == Kind.THERMOSTAT
    asked = np.flatnonzero(group)[1:].astype(np.int32)
    flat, hourly = Health(FLEET, by=("kind",)), Health(FLEET, HealthRules(hourly=True), by=("kind",))
    for day in range(30):
        for hour, status in ((0, A), (6, R)):
            for health in (flat, hourly):
                health.learn(asked, np.full(len(asked), status), NOON_S + day * DAY_S + hour * HOUR_S)
    row = np.flatnonzero(group)[0]
    end_s = NOON_S + 30 * DAY_S
    assert flat.probability(end_s)[row] == pytest.approx(0.5, abs=0.03)
    assert hourly.probability(end_s)[row] > 0.9
    assert hourly.probability(end_s + 6 * HOUR_S)[row] < 0.1
    assert hourly.probability(end_s + 12 * HOUR_S)[row] == pytest.approx(0.8)


def test_what_is_known_follows_its_resource():
    """In another version of the fleet each resource and each group keeps what was learnt of it."""
    rng = np.random.default_rng(5)
    health = Health(FLEET)
    health.learn(*outcomes(rng, 2_000)[:2], NOON_S)
    row = {
        "id": "a-new-one",
        "kind": "pv_rooftop",
        "bus": FLEET.labels["bus"][0],
        "phases": "a",
        "program": "a-new-programme",
    }
    after, changed, _ = FLEET.upsert([row], DRAWN.places)
    moved = health.moved(after)
    at = np.array([after.row_of[name] for name in FLEET.ids])
    assert changed == 1
    np.testing.assert_array_equal(moved.probability(NOON_S)[at], health.probability(NOON_S))
    assert moved.asked[after.row_of["a-new-one"]] == 0
    assert moved.probability(NOON_S)[after.row_of["a-new-one"]] == pytest.approx(0.8)


def test_the_rules_have_ranges():
    """A rule outside its range is our own mistake, named at once; so is a confidence."""
    for wrong in ({"prior": 1.0}, {"floor": 0.0}, {"half_life_asked": 0}, {"common_share": 1.1}):
        with pytest.raises(ValueError, match="outside the stated range"):
            HealthRules(**wrong)
    with pytest.raises(ValueError, match="outside the stated range"):
        HealthRules(half_life_s=1e12)
    for confidence in (0.4, 1.0):
        with pytest.raises(ValueError, match="confidence"):
            Health(FLEET).delivery(ALL, np.ones(300), NOON_S, confidence)
    with pytest.raises(ValueError, match="changes for 300 rows"):
        Health(FLEET).delivery(ALL, np.ones(299), NOON_S)
    for row in (-1, 300):
        with pytest.raises(IndexError, match="of 300"):
            Health(FLEET).probability(NOON_S, np.array([0, row]))


def learnt(common_share):
    """Health after a varied past, so that probabilities differ."""
    rng = np.random.default_rng(8)
    health = Health(FLEET, HealthRules(common_share=common_share))
    for _ in range(30):
        health.learn(ALL, np.where(rng.random(300) < 0.4 + 0.5 * (ALL / 300), A, R), NOON_S)
    return health


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("common", [0.0, 0.2])
def test_a_promise_is_kept_as_often_as_it_says(sign, common):
    """Of drawn responses nine in ten bring what is promised, where failures are common in any shape."""
    # Where failures are common, equal probabilities: of unequal ones fewer fail together than is allowed for.
    health = Health(FLEET, HealthRules(common_share=common)) if common else learnt(common)
    rng = np.random.default_rng(3)
    change = sign * rng.uniform(0.5, 5.0, 300)
    likely, link = health.probability(NOON_S), FLEET.columns["provider"]
    # Each resource follows its provider's one draw with probability √c: correlation c.
    follows = rng.random((4_000, 300)) < np.sqrt(common)
    shared = rng.random((4_000, int(link.max()) + 1))[:, link]
    brought = (np.where(follows, shared, rng.random((4_000, 300))) < likely) @ change
    wanted = health.delivery(ALL, change, NOON_S, any_shape=common > 0)
    assert wanted.expected_kw == pytest.approx(brought.mean(), rel=0.01)
    assert wanted.expected_kw == pytest.approx(health.expected_kw(ALL, change, NOON_S))
    assert wanted.deviation_kw == pytest.approx(brought.std(), rel=0.1)
    assert ((brought * sign) >= wanted.promised_kw * sign).mean() >= 0.885
    assert 0 < wanted.promised_kw * sign < wanted.expected_kw * sign < wanted.ordered_kw * sign


@settings(deadline=None, max_examples=50)
@given(seeds, st.floats(-900.0, 900.0), st.floats(0.5, 0.99), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_over_ordering_promises_the_target_or_names_what_is_missing(seed, target, confidence, shape, common):
    """The share ordered promises exactly the target; where the whole room cannot, the rest is named."""
    health, rng = learnt(common), np.random.default_rng(seed)
    rows = np.sort(rng.permutation(300)[: int(rng.integers(1, 300))]).astype(np.int32)
    room = np.copysign(rng.uniform(0.0, 5.0, len(rows)), target)
    asked = health.over_order(target, rows, room, NOON_S, confidence, any_shape=shape)
    assert 0.0 <= asked.share <= 1.0
    again = health.delivery(rows, asked.share * room, NOON_S, confidence, any_shape=shape)
    assert again == pytest.approx(asked.delivery, rel=1e-9, abs=1e-9)
    assert asked.delivery.promised_kw + asked.missing_kw == pytest.approx(target, rel=1e-9, abs=1e-9)
    if asked.missing_kw:
        assert asked.share == 1.0
    assert abs(asked.delivery.ordered_kw) >= abs(asked.delivery.promised_kw)


def test_each_provider_has_its_own_common_share():
    """Only what hangs behind the provider named is correlated; its variance is the square of the sum."""
    rules = HealthRules(common_share=0.0, common_shares={"aggregator-01": 1.0, "nobody": 0.5})
    at = FLEET.columns["provider"] == FLEET.labels["provider"].index("aggregator-01")
    spread = Health(FLEET, rules).delivery(ALL, np.ones(300), NOON_S).deviation_kw
    assert 1 < at.sum() < 300
    assert spread == pytest.approx(0.4 * np.sqrt((~at).sum() + at.sum() ** 2))
    with pytest.raises(ValueError, match="outside the stated range"):
        HealthRules(common_shares={"a": -0.1})


def test_a_room_against_the_target_promises_nothing():
    """Nothing is ordered of resources that could only do the opposite, and nothing is needed for nothing."""
    health = Health(FLEET)
    against = health.over_order(-10.0, ALL, np.ones(300), NOON_S)
    assert (against.share, against.missing_kw) == (0.0, -10.0)
    nothing = health.over_order(0.0, ALL, np.ones(300), NOON_S)
    assert (nothing.share, nothing.missing_kw, nothing.delivery.ordered_kw) == (0.0, 0.0, 0.0)
    nobody = health.over_order(5.0, ALL[:0], np.ones(0), NOON_S)
    assert nobody.missing_kw == 5.0


@given(seeds, st.integers(0, 200))
def test_what_is_known_is_a_value(seed, m):
    """Out of its evidence comes who knows the same and goes on alike; a copy learns for itself."""
    rng = np.random.default_rng(seed)
    first, second = outcomes(rng, m), outcomes(rng, m)
    health = Health(FLEET)
    health.learn(*first[:2], NOON_S, first[2])
    evidence = health.evidence
    before = health.probability(NOON_S)
    there = Health.of(evidence, copied=True)
    there.learn(*second[:2], NOON_S + HOUR_S, second[2])
    assert np.array_equal(Health.of(evidence).probability(NOON_S), before)
    health.learn(*second[:2], NOON_S + HOUR_S, second[2])
    later = NOON_S + 2 * HOUR_S
    assert np.array_equal(there.probability(later), health.probability(later))
    change = rng.normal(0, 2, 300)
    assert there.delivery(ALL, change, later) == health.delivery(ALL, change, later)
