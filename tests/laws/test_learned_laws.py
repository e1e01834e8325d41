"""Learned forecasts: no look-ahead, quantiles in order, an answer from any history, the same bytes."""

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.forecast import Site, crps, inside, naive
from gridflock.forecast.learned import (
    SETTINGS,
    NotTrained,
    Settings,
    backtest,
    from_bytes,
    to_bytes,
    train,
)
from gridflock.forecast.learned._cells import cells_of
from gridflock.forecast.learned._holidays import COUNTRIES, easter, rest
from gridflock.forecast.learned._rolling import single, some_of
from gridflock.forecast.learned._view import view_of
from gridflock.forecast.learned._young import as_young, few_days, heard_days
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

SITE = Site(52.1, 5.3, "Europe/Amsterdam", "NL")
START_S = unix_s("2026-02-20")
DAYS = 50
NOW_S = START_S + 45 * DAY_S + 12 * HOUR_S
LEADS = np.arange(36)
SMALL = Settings(blocks=("clock", "lags", "level", "thermal", "sky"), mode="three", trees=12, warm_days=14)
FULLER = replace(SMALL, trees=30)
ISSUES_S = START_S + 12 * HOUR_S + DAY_S * np.arange(DAYS)


def world(seed=0, days=DAYS, series=2):
    """Loads with an evening peak that follow the cold, and the weather."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(START_S, HOUR_S, 24 * days)
    hour = np.arange(grid.n)
    temp = 8 + 5 * np.sin(2 * np.pi * (hour - 9) / 24) + 4 * np.sin(hour / 90)
    shape = 2 + np.exp(-0.5 * ((hour % 24 - 18) / 2) ** 2) + 0.1 * np.maximum(15 - temp, 0)
    value = -shape * rng.uniform(1, 5, (series, 1)) * rng.lognormal(0, 0.1, (series, grid.n))
    names = tuple(f"load_{k}" for k in range(series))
    columns = {"temp_c": temp, "ghi_w_m2": np.maximum(300 * np.sin(2 * np.pi * (hour - 7) / 24), 0)}
    return History(grid, names, value), Weather(grid, columns, "issued", grid.starts_s - 48 * HOUR_S)


@lru_cache(maxsize=1)
def _model():
    return train(*world(), SITE, ISSUES_S, LEADS, SMALL, NOW_S)


@pytest.fixture
def trained():
    """A small model of that world."""
    return _model()


def scrambled(history, weather, now_s, seed):
    """The same as known at a moment; whatever was learnt later is another."""
    rng = np.random.default_rng(seed)
    late = history.grid.edges_s[1:] > now_s
    value = history.value_kw.copy()
    value[:, late] = rng.permuted(value[:, late], axis=1) * rng.uniform(-9, 9)
    unknown = weather.known_s > now_s
    columns = {name: np.where(unknown, rng.normal(0, 99), column) for name, column in weather.columns.items()}
    return History(history.grid, history.series, value, history.known_s), Weather(
        weather.grid, columns, weather.kind, weather.known_s
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), hours=st.integers(-100, 100))
def test_a_changed_future_changes_no_byte_of_a_forecast(seed, hours):
    """Values and weather that were learnt after the moment of issue have no way into the answer."""
    now_s = NOW_S + hours * HOUR_S
    history, weather = world()
    first = _model().forecast(history, weather, SITE, now_s)
    again = _model().forecast(*scrambled(history, weather, now_s, seed), SITE, now_s)
    assert first.value_kw.tobytes() == again.value_kw.tobytes()


def test_a_changed_future_changes_no_byte_of_the_training():
    """What is learnt at a moment is the same whatever came later."""
    history, weather = world()
    first = train(history, weather, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    again = train(*scrambled(history, weather, NOW_S, 5), SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    assert to_bytes(first) == to_bytes(again)


def test_a_changed_future_changes_no_byte_of_a_back_test():
    """The forecasts of a back-test up to a moment are the same whatever came after it."""
    history, weather = world()
    first_s = START_S + 35 * DAY_S
    whole = backtest(history, weather, SITE, ISSUES_S, LEADS, SMALL, first_s)
    other = backtest(*scrambled(history, weather, NOW_S, 3), SITE, ISSUES_S, LEADS, SMALL, first_s)
    same = whole.issues_s <= NOW_S
    assert same.sum() > 5
    assert whole.value_kw[:, same].tobytes() == other.value_kw[:, same].tobytes()
    assert whole.value_kw[:, ~same].tobytes() != other.value_kw[:, ~same].tobytes()


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_no_block_of_any_class_sees_the_future(kind):
    """Features, sizes and bounds of every class are the same bytes whatever was learnt after the issue."""
    history, weather = world()
    if kind == "pv":
        sun = np.maximum(weather.columns["ghi_w_m2"], 0)[None] * np.array([[0.01], [0.02]])
        history = History(history.grid, history.series, sun)
    now_s = np.array([NOW_S], dtype=np.int64)
    first = cells_of(history, weather, SITE, now_s, LEADS, SETTINGS[kind])
    again = cells_of(*scrambled(history, weather, NOW_S, 9), SITE, now_s, LEADS, SETTINGS[kind])
    assert np.isfinite(first.x).any(axis=0).sum() > 5
    for name in ("x", "anchor", "scale_kw", "low_kw", "high_kw", "wider"):
        one, two = getattr(first, name), getattr(again, name)
        assert np.array_equal(one, two, equal_nan=True), name
    assert not np.array_equal(first.truth, again.truth, equal_nan=True)


def test_late_readings_are_not_used_before_they_were_learnt(trained):
    """Cells of the past that were learnt later than the moment of issue change nothing."""
    history, weather = world()
    known_s = np.broadcast_to(history.grid.edges_s[1:], history.value_kw.shape).copy()
    late = history.grid.starts_s >= NOW_S - 30 * HOUR_S
    known_s[0, late] = NOW_S + 1
    told = History(history.grid, history.series, history.value_kw, known_s)
    value = history.value_kw.copy()
    value[0, late] *= 7
    lied = History(history.grid, history.series, value, known_s)
    never = history.value_kw.copy()
    never[0, late] = np.nan
    first = trained.forecast(told, weather, SITE, NOW_S).value_kw
    assert first.tobytes() == trained.forecast(lied, weather, SITE, NOW_S).value_kw.tobytes()
    unheard = History(history.grid, history.series, never)
    assert np.allclose(first, trained.forecast(unheard, weather, SITE, NOW_S).value_kw)


def _faulty(history, fault, seed):
    """A history with a fault in its first series."""
    rng = np.random.default_rng(seed)
    value = history.value_kw.copy()
    if fault == "gap of days":
        value[0, -10 * 24 :] = np.nan
    elif fault == "nothing":
        value[0] = np.nan
    elif fault == "constant":
        value[0] = 0.0
    elif fault == "three points":
        value[0, : -24 * 6 - 3] = np.nan
        value[0, -24 * 6 :] = np.nan
    elif fault == "doubled":
        value[0, 24:] = value[0, :-24]
    else:
        value[0] = np.where(rng.random(value.shape[1]) < 0.5, np.inf, value[0])
    return History(history.grid, history.series, value)


FAULTS = ("gap of days", "nothing", "constant", "three points", "doubled", "infinite")


@settings(max_examples=12, deadline=None)
@given(fault=st.sampled_from(FAULTS), seed=st.integers(0, 99), weatherless=st.booleans())
def test_quantiles_never_cross_and_are_never_missing(fault, seed, weatherless):
    """Whatever a history holds, and with or without weather, nine finite quantiles come in order."""
    history, weather = world()
    answer = _model().forecast(_faulty(history, fault, seed), None if weatherless else weather, SITE, NOW_S)
    assert np.isfinite(answer.value_kw).all()
    assert (np.diff(answer.value_kw, axis=1) >= 0).all()
    assert answer.value_kw.shape == (2, 9, len(LEADS))


@pytest.mark.parametrize("fault", ["gap of days", "three points"])
def test_less_knowledge_gives_a_wider_band(trained, fault):
    """A series that was silent for days is forecast with a wider band; the others are as before."""
    history, weather = world()
    now_s = int(history.grid.end_s)
    full = trained.forecast(history, weather, SITE, now_s).value_kw
    silent = trained.forecast(_faulty(history, fault, 0), weather, SITE, now_s).value_kw
    width = [(v[0, -1] - v[0, 0]).mean() for v in (full, silent)]
    assert width[1] > 1.3 * width[0]
    assert full[1].tobytes() == silent[1].tobytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_training_takes_faulty_histories(fault):
    """A fault in one series ends neither the training nor the forecasts of all."""
    history, weather = world()
    faulty = _faulty(history, fault, 1)
    model = train(faulty, weather, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    answer = model.forecast(faulty, weather, SITE, NOW_S).value_kw
    assert np.isfinite(answer).all()
    assert (np.diff(answer, axis=1) >= 0).all()


def test_without_anything_to_learn_from_habits_answer():
    """A series of three points, or none at all, is forecast by the naive member."""
    history, weather = world()
    value = np.full_like(history.value_kw[:1], np.nan)
    value[0, 40:43] = -2.0
    bare = History(history.grid, history.series[:1], value)
    model = train(bare, weather, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    assert not model.members
    answer = model.forecast(bare, weather, SITE, NOW_S)
    assert np.isfinite(answer.value_kw).all()
    assert answer.grid.n == len(LEADS)
    assert from_bytes(to_bytes(model)).members == ()


@pytest.mark.parametrize("members", [("ridge", "trees"), ("over", "forest")])
def test_the_same_seed_gives_the_same_bytes_and_they_come_back(members):
    """Training twice gives the same bytes, and a model read from them answers alike, whatever its members."""
    history, weather = world()
    setting = replace(SMALL, members=members, forest_trees=9)
    trained, twice = (train(history, weather, SITE, ISSUES_S, LEADS, setting, NOW_S) for _ in range(2))
    data = to_bytes(trained)
    assert data == to_bytes(twice)
    again = from_bytes(data)
    assert to_bytes(again) == data
    one, two = (model.forecast(history, weather, SITE, NOW_S) for model in (trained, again))
    assert one.value_kw.tobytes() == two.value_kw.tobytes()
    assert one.known_at_s == NOW_S


@pytest.mark.parametrize("leads", [np.arange(0), np.array([0, 2])])
def test_leads_follow_each_other(leads):
    """A horizon without steps, or with holes in it, is refused."""
    with pytest.raises(ValueError, match="leads"):
        train(*world(), SITE, ISSUES_S, leads, SMALL, NOW_S)


def test_a_history_in_other_steps_is_refused(trained):
    """A model of hours is not asked with half-hours."""
    history, weather = world()
    half = History(TimeGrid.uniform(START_S, 1_800, history.grid.n), history.series, history.value_kw)
    with pytest.raises(ValueError, match="steps"):
        trained.forecast(half, weather, SITE, NOW_S)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 10_000), noise=st.binary(max_size=40))
def test_other_bytes_are_refused(cut, noise):
    """Bytes cut off, or of something else, are refused by one error."""
    data = to_bytes(_model())
    for bad in (data[: min(cut, len(data) - 1)], noise):
        with pytest.raises(NotTrained):
            from_bytes(bad)


def test_a_band_holds_what_it_promises_on_a_steady_world():
    """On loads whose noise does not change, four in five truths lie in the 10–90 % band."""
    history, weather = world(series=4)
    trial = backtest(history, weather, SITE, ISSUES_S, LEADS, SMALL, START_S + 30 * DAY_S)
    known = np.isfinite(trial.truth_kw)
    assert 0.72 < inside(trial.truth_kw, trial.value_kw)[known].mean() < 0.88
    at = (trial.issues_s - START_S) // HOUR_S
    end_s = START_S + 30 * DAY_S
    base = naive(history.value_kw, history.grid.starts_s, "Europe/Amsterdam", at, LEADS, "week", end_s)
    ours, theirs = (crps(trial.truth_kw, q)[known].mean() for q in (trial.value_kw, base))
    assert ours < 0.9 * theirs


def _moody(days=200):
    """Loads that follow a temperature nobody could tell from the days before, and the weather."""
    rng = np.random.default_rng(4)
    grid = TimeGrid.uniform(START_S, HOUR_S, 24 * days)
    mood = np.zeros(days + 2)
    for day in range(1, days + 2):
        mood[day] = 0.6 * mood[day - 1] + rng.normal(0, 4)
    hour = np.arange(grid.n)
    temp = 6 + 2 * np.sin(2 * np.pi * (hour - 9) / 24) + np.interp(hour / 24, np.arange(days + 2), mood)
    value = -(3 + 0.4 * np.maximum(20 - temp, 0)) * rng.lognormal(0, 0.03, (2, grid.n))
    return History(grid, ("a", "b"), value), Weather(
        grid, {"temp_c": temp}, "issued", grid.starts_s - 48 * HOUR_S
    )


def _cut(weather, end_s):
    """The weather up to a moment."""
    n = int((end_s - weather.grid.start_s) // HOUR_S)
    columns = {name: column[:n] for name, column in weather.columns.items()}
    return Weather(
        TimeGrid.uniform(weather.grid.start_s, HOUR_S, n), columns, weather.kind, weather.known_s[:n]
    )


@lru_cache(maxsize=1)
def _moody_model():
    issues_s = START_S + 12 * HOUR_S + DAY_S * np.arange(160)
    return train(*_moody(), SITE, issues_s, LEADS, replace(SMALL, warm_days=60), START_S + 160 * DAY_S)


def test_a_model_that_lost_its_weather_keeps_the_promise_of_its_bands():
    """Load that follows temperature, asked without: bands are wider, and still hold four in five truths."""
    history, weather = _moody()
    model = _moody_model()
    held, width, sharp = [], [], []
    for now_s in range(START_S + 161 * DAY_S + 12 * HOUR_S, START_S + 198 * DAY_S, DAY_S):
        without, told = (model.forecast(history, given, SITE, now_s).value_kw for given in (None, weather))
        begin = (now_s - START_S) // HOUR_S
        truth = history.value_kw[:, begin : begin + len(LEADS)]
        held.append((without[:, 0] <= truth) & (truth <= without[:, -1]))
        width.append((without[:, -1] - without[:, 0]).mean())
        sharp.append((told[:, -1] - told[:, 0]).mean())
    assert len(held) >= 36
    assert 0.6 < np.mean(held) < 0.95
    assert np.mean(width) > 1.5 * np.mean(sharp)


@pytest.mark.parametrize("fault", ["ends", "late", "absent", "empty"])
def test_steps_without_weather_are_answered_and_named_one_by_one(fault):
    """Where weather ends, is late or lacks a column the model without it answers; other steps are as ever."""
    history, weather = _moody()
    model, now_s = _moody_model(), START_S + 170 * DAY_S + 12 * HOUR_S
    target_s = now_s + HOUR_S * LEADS
    lost = target_s >= now_s + 10 * HOUR_S
    if fault == "ends":
        given = _cut(weather, now_s + 10 * HOUR_S)
    elif fault == "late":
        late = weather.grid.starts_s >= now_s + 10 * HOUR_S
        given = replace(weather, known_s=np.where(late, now_s + 1, weather.known_s))
    elif fault == "absent":
        given, lost = replace(weather, columns={}), np.ones(len(LEADS), dtype=bool)
    else:
        given, lost = _cut(weather, START_S), np.ones(len(LEADS), dtype=bool)
    assert model.needs == ("temp_c",)
    assert (model.blind_steps(history, given, SITE, now_s) == lost).all()
    assert not model.blind_steps(history, weather, SITE, now_s).any()
    found, told, none = (model.forecast(history, w, SITE, now_s).value_kw for w in (given, weather, None))
    assert found[..., lost].tobytes() == none[..., lost].tobytes()
    assert found[..., ~lost].tobytes() == told[..., ~lost].tobytes()


def test_a_back_test_whose_weather_ends_keeps_the_promise_of_its_bands():
    """From where weather ends a back-test goes on without it: four in five truths lie in its bands."""
    history, weather = _moody(days=90)
    issues_s = START_S + 12 * HOUR_S + DAY_S * np.arange(88)
    setting, first_s, end_s = replace(SMALL, warm_days=25), START_S + 60 * DAY_S, START_S + 70 * DAY_S
    whole, short = (
        backtest(history, given, SITE, issues_s, LEADS, setting, first_s)
        for given in (weather, _cut(weather, end_s))
    )
    seen = whole.issues_s + HOUR_S * len(LEADS) <= end_s
    assert seen.sum() > 5
    assert whole.value_kw[:, seen].tobytes() == short.value_kw[:, seen].tobytes()
    after = short.issues_s >= end_s
    known = np.isfinite(short.truth_kw[:, after])
    assert 0.6 < inside(short.truth_kw, short.value_kw)[:, after][known].mean() < 0.95


def test_a_class_that_reads_no_weather_needs_none():
    """Weather beside blocks that do not read it makes no second model, and no difference."""
    history, weather = world()
    plain = replace(SMALL, blocks=("clock", "lags", "level"))
    given, none = (train(history, w, SITE, ISSUES_S, LEADS, plain, NOW_S) for w in (weather, None))
    assert given.blind is None
    assert to_bytes(given) == to_bytes(none)


@pytest.mark.parametrize("kind", sorted(SETTINGS))
@pytest.mark.parametrize("issues", [1, 2])
def test_what_is_appended_changes_no_byte_of_a_feature(kind, issues):
    """Features, sizes and bounds are the same bytes whether the history ends at the issue or goes on."""
    history, weather = world(days=90)
    if kind.startswith("pv"):
        sun = np.maximum(weather.columns["ghi_w_m2"], 0)[None] * np.array([[0.01], [0.02]])
        history = History(history.grid, history.series, sun)
    now_s = NOW_S - DAY_S * np.arange(issues)[::-1]

    def seen(end_s):
        n = int((end_s - START_S) // HOUR_S)
        grid = TimeGrid.uniform(START_S, HOUR_S, n)
        short = History(grid, history.series, history.value_kw[:, :n])
        return cells_of(short, weather, SITE, now_s, LEADS, SETTINGS[kind])

    first, again = seen(NOW_S), seen(NOW_S + 40 * DAY_S)
    for name in ("x", "anchor", "scale_kw", "low_kw", "high_kw", "wider"):
        assert np.array_equal(getattr(first, name), getattr(again, name), equal_nan=True), name


def test_weather_beside_a_step_never_known_is_not_known():
    """Between a step whose weather is known and one whose never is, nothing is known."""
    history, weather = world()
    known_s = weather.known_s.copy()
    known_s[500] = -1
    half = TimeGrid.uniform(START_S, HOUR_S // 2, 2 * history.grid.n)
    fine = History(half, history.series, np.repeat(history.value_kw, 2, axis=1))
    given = replace(weather, known_s=known_s)
    for past, per, lost in ((history, 1, [500]), (fine, 2, [999, 1000, 1001, 1002])):
        issue = np.array([START_S + 20 * DAY_S], dtype=np.int64)
        view = view_of(past, given, SITE, issue, np.arange(40 * per))
        found = view.weather("temp_c", view.target)[0, 0]
        assert view.target[0][np.isnan(found)].tolist() == lost


@lru_cache(maxsize=1)
def _siblings_model():
    """A model of five loads of very different sizes, and of how such loads begin."""
    return train(*world(series=5), SITE, ISSUES_S, LEADS, FULLER, NOW_S)


def _begun(days, scale=1.0, name="new"):
    """A load the model never saw, heard for so many days before the moment of issue."""
    history, _ = world(seed=11, series=1)
    value = scale * history.value_kw
    value[:, history.grid.starts_s < NOW_S - round(days * DAY_S)] = np.nan
    return History(history.grid, (name,), value)


@pytest.mark.parametrize("days", [0, 0.5, 3])
def test_a_series_that_has_just_begun_is_forecast_as_its_siblings_were(days):
    """With no or little history nine finite quantiles in order come, of the class's shape and size."""
    model, (history, weather) = _siblings_model(), world(series=5)
    answer = model.forecast(_begun(days), weather, SITE, NOW_S)
    assert model.young is not None
    assert model.young.usual_kw > 0
    assert np.isfinite(answer.value_kw).all()
    assert (np.diff(answer.value_kw, axis=1) >= 0).all()
    middle = answer.value_kw[0, 4]
    assert 0.3 < np.abs(middle).mean() / model.young.usual_kw < 3.0
    others = model.forecast(history, weather, SITE, NOW_S).value_kw[:, 4]
    shape = (others / others.mean(axis=1, keepdims=True)).mean(axis=0)
    assert np.corrcoef(np.abs(middle), shape)[0, 1] > 0.5


def test_what_is_known_of_a_new_series_counts():
    """A band narrows as days come, and the size follows attributes first and then what was heard."""
    model, (_, weather) = _siblings_model(), world()

    def asked(days, **more):
        return model.forecast(_begun(days, 3.0), weather, SITE, NOW_S, **more).value_kw[0]

    width = [(v[-1] - v[0]).mean() / np.abs(v[4]).mean() for v in map(asked, (0, 1, 7, 40))]
    assert width[0] > 1.5 * width[1] > 1.5 * width[3]
    told = asked(0, size_kw=np.array([3.0 * model.young.usual_kw]))
    np.testing.assert_allclose(told, 3.0 * asked(0), rtol=1e-4)
    assert asked(0, size_kw=np.array([np.nan])).tobytes() == asked(0).tobytes()


def test_who_else_is_asked_for_changes_no_answer():
    """A new series gets the same answer alone and beside others, and changes none of theirs."""
    model, (history, weather) = _siblings_model(), world()
    new = _begun(1)
    both = History(history.grid, (*history.series, "new"), np.concatenate([history.value_kw, new.value_kw]))
    alone, others, together = (model.forecast(h, weather, SITE, NOW_S).value_kw for h in (new, history, both))
    assert together[2].tobytes() == alone[0].tobytes()
    assert together[:2].tobytes() == others.tobytes()


def test_a_model_of_siblings_comes_back_from_its_bytes():
    """Twins and sizes are kept; what came later changes neither."""
    model, (history, weather) = _siblings_model(), world(series=5)
    assert model.learnt
    assert model.few_days == 14.0
    data = to_bytes(model)
    again = from_bytes(data)
    assert to_bytes(again) == data
    one, two = (m.forecast(_begun(0.5), weather, SITE, NOW_S).value_kw for m in (model, again))
    assert one.tobytes() == two.tobytes()
    other = train(*scrambled(history, weather, NOW_S, 5), SITE, ISSUES_S, LEADS, FULLER, NOW_S)
    assert to_bytes(other) == data


def test_where_all_have_just_begun_none_is_a_new_one():
    """Of series that began together days ago the model itself speaks; of one that came later its twin."""
    history, weather = world(series=6)
    value = history.value_kw.copy()
    value[:, history.grid.starts_s < NOW_S - 10 * DAY_S] = np.nan
    value[5, history.grid.starts_s < NOW_S - 2 * DAY_S] = np.nan
    view = view_of(replace(history, value_kw=value), weather, SITE, np.array([NOW_S]), LEADS)
    assert few_days(view) == pytest.approx(7.5)
    assert (heard_days(view)[:, 0] < few_days(view)).tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("still_days", [30, DAYS])
def test_a_series_that_stands_at_0_is_forecast_near_it(still_days):
    """Four weeks of exact zeros: hardly anything, with a band; its siblings learn nothing from it."""
    history, weather = world(3)
    still = history.value_kw.copy()
    still[0, history.grid.edges_s[1:] > NOW_S - still_days * DAY_S] = 0.0
    model = train(replace(history, value_kw=still), weather, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    found = model.forecast(replace(history, value_kw=still), weather, SITE, NOW_S).value_kw
    usual = np.abs(history.value_kw[1]).mean()
    assert np.abs(found[0]).max() < 0.1 * usual
    assert ((found[0, -1] - found[0, 0]) > 0).all()
    if still_days == DAYS:
        without = some_of(history, np.array([1]))
        alone = train(without, weather, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
        by_itself = alone.forecast(without, weather, SITE, NOW_S).value_kw
        np.testing.assert_allclose(found[1:], by_itself, rtol=1e-9)


def test_rows_cut_short_are_those_of_a_short_history():
    """What twins learn from is what a history that begins so late gives."""
    history, weather = world()
    issues_s = ISSUES_S[20:40]
    settings = as_young(
        replace(SMALL, blocks=("clock", "lags", "around", "level", "habits", "usual", "fade"))
    )
    cut_s = int(issues_s[-1]) - 5 * DAY_S
    value = np.where(history.grid.starts_s < cut_s, np.nan, history.value_kw)
    first = (cut_s - START_S) // HOUR_S

    def seen(values, **fields):
        given = History(history.grid, history.series, values)
        fields["usual_kw"] = np.ones((1, 1))
        return cells_of(given, weather, SITE, issues_s, LEADS, settings, seen_as=partial(replace, **fields))

    since = np.full((2, len(issues_s)), first)
    one, two = seen(history.value_kw, since=since), seen(value)
    np.testing.assert_allclose(one.x, two.x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.scale_kw, two.scale_kw, rtol=1e-9)


def test_series_learnt_apart_are_trained_as_they_are_tried():
    """Each gets the model it would get alone, all answer at once, and one that is new the mean of them."""
    history, weather = world(series=3)
    setting = replace(SMALL, apart=True)
    model = train(history, weather, SITE, ISSUES_S, LEADS, setting, NOW_S)
    assert [name for name, _ in model.each] == list(history.series)
    assert model.learnt
    assert model.needs == ("ghi_w_m2", "temp_c")
    answer = model.forecast(history, weather, SITE, NOW_S)
    for k, one in enumerate(single(history)):
        alone = train(one, weather, SITE, ISSUES_S, LEADS, setting, NOW_S)
        found = alone.forecast(one, weather, SITE, NOW_S).value_kw
        assert found.tobytes() == answer.value_kw[k : k + 1].tobytes()
    assert to_bytes(from_bytes(to_bytes(model))) == to_bytes(model)
    new = History(history.grid, ("new",), history.value_kw[:1])
    said = [m.forecast(new, weather, SITE, NOW_S).value_kw[0] for _, m in model.each]
    np.testing.assert_allclose(model.forecast(new, weather, SITE, NOW_S).value_kw[0], np.mean(said, axis=0))
    assert not model.blind_steps(history, weather, SITE, NOW_S).any()
    assert model.blind_steps(history, None, SITE, NOW_S).all()


def test_holidays_are_those_of_the_calendar():
    """Known dates: Easter, moved holidays, bridge days; a country without rules has none."""
    assert str(easter(2019)) == "2019-04-21"
    assert set(COUNTRIES) >= {"GB", "US", "DE", "NL"}
    days = {"GB": "2021-12-28", "US": "2018-11-22", "DE-NI": "2019-10-31", "NL": "2021-04-27"}
    for country, text in days.items():
        number = np.array([unix_s(text) // DAY_S])
        assert rest(country, number)[0] == 1.0
        assert rest("XX", number)[0] == 0.0
    bridge = np.array([unix_s("2018-11-23") // DAY_S])
    assert [float(part[0]) for part in rest("US", bridge)] == [0.0, 1.0]


def test_every_class_names_what_there_is():
    """The settings' table names only blocks and bounds that exist."""
    from gridflock.forecast.learned._blocks import BLOCKS
    from gridflock.forecast.learned._bounds import BOUNDS, SCALES

    for setting in SETTINGS.values():
        assert set(setting.blocks) <= set(BLOCKS)
        assert setting.scale in SCALES
        assert not setting.bound or setting.bound in BOUNDS
