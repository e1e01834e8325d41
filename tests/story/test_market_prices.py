"""Prices are published to midnight; the plan looks on to tomorrow noon by what they are expected to be."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console._cli import app
from gridflock.forecast import Site
from gridflock.runtime import LOCAL, AccessDenied, RequestRejected, Role, Scope, Settings, rehearse, replay
from gridflock.runtime._kept import to_bytes
from gridflock.runtime._market import EXPECTED, PUBLISHED, TARIFF, Market, Published, priced_over
from gridflock.runtime._pricing import _day_before
from gridflock.sim import Scenario
from gridflock.units import DAY_S, HOUR_S, QUARTER_S, TimeGrid, iso, unix_s

NOON_S = 12 * 3_600
SETTINGS = Settings(tick_s=300, learn_days=21, in_ac=False)
SITE = Site(39.74, -105.18, "America/Denver")
DAYS = 28


def usual(start_s, hours, seed=1):
    """Hourly prices that are dear in the evening, money per kWh."""
    hour = (start_s // HOUR_S + np.arange(hours)) % 24
    rough = np.random.default_rng((seed, start_s)).normal(0.0, 0.005, hours)
    return 0.1 + 0.1 * np.exp(-(((hour - 2) / 2.0) ** 2)) + rough


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A day from noon on, after four weeks of day-ahead prices that end at midnight; restarted in between."""
    folder = tmp_path_factory.mktemp("market") / "day"
    derms, world = rehearse(folder, Scenario(ders=30, seed=3), SETTINGS, join_s=NOON_S)
    first_s = world.start_s - DAYS * DAY_S
    prices = usual(first_s, (DAYS + 1) * 24).tolist()
    derms.publish(LOCAL, iso(first_s), prices, out="12:45")
    for _ in range(4):
        derms.clock.sleep_until(derms.tick().now_s + 300)
    derms.close()
    derms, world = rehearse(folder, Scenario(ders=30, seed=3), SETTINGS, join_s=NOON_S)
    for _ in range(3):
        derms.clock.sleep_until(derms.tick().now_s + 300)
    yield folder, derms, world
    derms.close()


def test_the_plan_goes_by_published_prices_and_then_by_expected_ones(lived):
    """To midnight what was published, certain; to tomorrow noon quantiles of what is expected."""
    _, derms, world = lived
    plan = derms.plan(LOCAL)
    midnight = iso(world.start_s + DAY_S)
    by = ["published" if until <= midnight else "expected" for until in plan.t[1:]]
    assert plan.tariff_by == by
    assert by.count("expected") >= 8
    wide = [high - low for low, high in zip(plan.tariff_p10, plan.tariff_p90, strict=True)]
    assert all((one > 0) == (why == "expected") for one, why in zip(wide, by, strict=True))
    told = derms.moment.planned.priced
    assert told.said.value_kw.shape == (1, 9, len(by))
    assert (np.diff(told.said.value_kw[0], axis=0) >= 0).all()
    truth = usual(world.start_s + DAY_S, 12)
    said = told.price[np.array(by) == "expected"]
    assert abs(said.mean() - truth[: len(said)].mean()) < 0.02


def test_the_explanation_says_so(lived):
    """Why a device does what it does names the present price, and from when on prices are expected ones."""
    _, derms, _ = lived
    plan, text = derms.plan(LOCAL), derms.explain(LOCAL, "all").text
    first = plan.t[plan.tariff_by.index("expected")]
    assert "as published." in text
    assert f"No prices are published for {first} to {plan.t[-1]}" in text


def test_it_is_lived_again(lived, tmp_path):
    """A replay learns the same from the same prices, over a restart."""
    folder, derms, _ = lived
    assert derms._loop.market.end_s > derms.moment.now_s
    found = replay(shutil.copytree(folder, tmp_path / "copy"))
    assert found.identical, found.differs


def test_what_cannot_be_a_price_is_refused_by_name(lived):
    """Every fault of a request is named, and only admins say what energy costs."""
    _, derms, _ = lived
    with pytest.raises(RequestRejected) as refused:
        derms.publish(LOCAL, "someday", [float("nan")], step_s=7, out="25:00")
    assert {fault.field for fault in refused.value.faults} == {"step_s", "start", "prices", "out"}
    with pytest.raises(AccessDenied):
        derms.publish(Scope("eve", Role.OPERATOR, frozenset({"all"})), "2026-07-15T12:00:00Z", [0.1])


def _market(now_s, days, ahead_h=12):
    start_s = now_s - days * DAY_S
    price = np.repeat(usual(start_s, days * 24 + ahead_h), 4)
    known = start_s + QUARTER_S * np.arange(len(price)) - DAY_S
    told = Published(start_s, price, np.minimum(known, now_s), seq=7)
    return Market().heard([told], now_s, 63 * DAY_S)


def test_what_was_published_later_changes_nothing():
    """A forecast from what was out at a moment is the same, whatever is out afterwards."""
    now_s = 1_780_000_000 // DAY_S * DAY_S
    grid = TimeGrid.uniform(now_s, HOUR_S, 24)
    known = _market(now_s, 30)
    one = priced_over(known, grid, SITE, 21, now_s)
    late = np.concatenate([known.price, np.full(48, 9.0)])
    known_s = np.concatenate([known.known_s, np.full(48, now_s + 1)])
    other = Market(known.seq, known.start_s, late, known_s, known.told_s)
    hours = priced_over(other, TimeGrid.uniform(now_s + 13 * HOUR_S, HOUR_S, 24), SITE, 21, now_s)
    assert (one.by[:12] == PUBLISHED).all()
    assert (one.by[12:] == EXPECTED).all()
    assert (one.said.value_kw[0, -1, 12:] < 1.0).all()
    assert (hours.by[-13:] == EXPECTED).all()
    assert (hours.said.value_kw[0, -1, -13:] < 1.0).all()


def test_with_too_little_known_the_tariff_holds():
    """A day of prices foretells nothing; ten days do by habit; republished prices hold."""
    now_s = 1_780_000_000 // DAY_S * DAY_S
    grid = TimeGrid.uniform(now_s, HOUR_S, 24)
    few = priced_over(_market(now_s, 1), grid, SITE, 21, now_s)
    assert few.by.tolist() == [PUBLISHED] * 12 + [TARIFF] * 12
    assert priced_over(Market(), grid, SITE, 21, now_s) is None
    ahead = Market().heard([Published(now_s, np.full(80, 0.2), np.full(80, now_s), 1)], now_s, 5 * DAY_S)
    assert set(priced_over(ahead, grid, SITE, 21, now_s).by.tolist()) == {PUBLISHED, TARIFF}
    some = _market(now_s, 10)
    assert (priced_over(some, grid, SITE, 21, now_s).by[12:] == EXPECTED).all()
    newer = some.heard([Published(now_s, np.array([5.0]), np.array([now_s]), 9)], now_s, 5 * DAY_S)
    assert newer.price[(now_s - newer.start_s) // QUARTER_S] == 5.0
    assert newer.start_s == now_s - 5 * DAY_S
    assert to_bytes(newer) == to_bytes(newer.heard([], now_s + 60, 5 * DAY_S))


@pytest.mark.parametrize("days", [1.5, 3, 6, 20])
def test_a_feed_that_stops_is_told_and_the_tariff_holds(days):
    """A day after the last published hour nothing is expected: energy is not free for want of prices."""
    stop_s = 1_780_000_000 // DAY_S * DAY_S
    known = _market(stop_s, 40, 0)
    assert known.troubles(stop_s - 1) == ()
    now_s = int(stop_s + days * DAY_S)
    (text,) = known.troubles(now_s)
    assert text == f"prices lost: published until {iso(stop_s)}; the tariff holds"
    told = priced_over(known, TimeGrid.uniform(now_s, HOUR_S, 24), SITE, 21, now_s)
    assert set(told.by.tolist()) == {TARIFF}
    assert np.isnan(told.price).all()


def test_a_gap_of_hours_is_bridged_by_what_is_expected():
    """Within a day of the last published hour plans go by what is expected, not by 0, and it is told."""
    stop_s = 1_780_000_000 // DAY_S * DAY_S
    now_s = stop_s + 20 * HOUR_S
    known = _market(stop_s, 40, 0)
    assert known.troubles(now_s)[0].endswith("plans go by what is expected")
    told = priced_over(known, TimeGrid.uniform(now_s, HOUR_S, 24), SITE, 21, now_s)
    assert set(told.by.tolist()) == {EXPECTED}
    assert told.price.min() > 0.05
    assert (told.said.value_kw[0, -1] > told.said.value_kw[0, 0]).all()


def test_what_is_old_goes_without_another_publication():
    """Of the past so much is kept, whether or not somebody publishes."""
    now_s = 1_780_000_000 // DAY_S * DAY_S
    known = _market(now_s, 10)
    assert known.heard([], now_s + HOUR_S, 10 * DAY_S) is known
    later = known.heard([], now_s + 4 * DAY_S, 10 * DAY_S)
    assert (later.start_s, later.end_s, later.told_s) == (now_s - 6 * DAY_S, known.end_s, known.told_s)
    gone = known.heard([], now_s + 40 * DAY_S, 10 * DAY_S)
    assert (len(gone.price), gone.seq) == (0, known.seq)
    assert gone.troubles(now_s + 40 * DAY_S) == ()
    again = gone.heard([Published(now_s, np.array([0.3]), np.array([now_s]), 9)], now_s + DAY_S, 10 * DAY_S)
    assert again.price[0] == 0.3


@pytest.mark.parametrize(
    ("of", "out"),
    [
        ("2025-03-30T12:00:00+02:00", "2025-03-29T12:45:00+01:00"),
        ("2025-03-31T00:00:00+02:00", "2025-03-30T12:45:00+02:00"),
        ("2025-10-26T12:00:00+01:00", "2025-10-25T12:45:00+02:00"),
        ("2025-10-26T00:00:00+02:00", "2025-10-25T12:45:00+02:00"),
        ("2025-10-27T23:00:00+01:00", "2025-10-26T12:45:00+01:00"),
    ],
)
def test_the_day_before_is_a_date(of, out):
    """A time of day of the day before is that of the clock on the wall, on days of 23 and 25 hours too."""
    starts = np.array([unix_s(of), unix_s(of)], dtype=np.int64)
    assert _day_before(starts, 12 * 3_600 + 45 * 60, "Europe/Amsterdam").tolist() == [unix_s(out)] * 2


@pytest.mark.parametrize("price", ["nan", "inf", "dear", ""])
def test_a_file_with_what_is_no_price_is_refused_by_its_line(tmp_path, price):
    """The command names the line, and asks no server."""
    file = tmp_path / "prices.csv"
    rows = f"time,price\n2026-07-15T00:00:00Z,0.1\n2026-07-15T01:00:00Z,{price}\n"
    file.write_text(rows, encoding="utf-8")
    shown = CliRunner().invoke(app, ["publish", str(file), "--url", "http://127.0.0.1:1"])
    assert shown.exit_code == 1
    assert f"line 3: price {price!r} is no finite number" in " ".join(shown.output.split())
