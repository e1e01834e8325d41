"""Laws of the weather that is heard: nothing known early, wrong zones refused, no source stops a tick."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflock.forecast import Site
from gridflock.forecast._sun import clear_sky
from gridflock.model import Rejected, Weather
from gridflock.runtime._kept import from_bytes, to_bytes
from gridflock.runtime._past import _kept
from gridflock.runtime._skies import NOTICE_S, Skies, sound
from gridflock.runtime._sky_way import FAILED, LATE, REFUSED, SkyWay
from gridflock.units import HOUR_S, TimeGrid, unix_s

NOW_S = unix_s("2026-07-15T12:00:00Z")
SITE = Site(34.05, -118.24, "America/Los_Angeles")


def table(start_s=NOW_S, hours=48, step_s=HOUR_S, shift_s=0, level=0.0):
    """A forecast under a clear sky, its clock off by some time."""
    grid = TimeGrid.uniform(start_s, step_s, hours * HOUR_S // step_s)
    light = 1000.0 * clear_sky(SITE, grid.edges_s - shift_s)[:, [0, 3]].sum(axis=1)
    temp = 20.0 + level + np.arange(grid.n, dtype=np.float64)
    return Weather(grid, {"temp_c": temp, "ghi_w_m2": light}, "issued", np.full(grid.n, start_s))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_the_archive_knows_nothing_early(gaps):
    """Each hour of the archive was heard at its ``known_s``: a day ahead, where anybody spoke then."""
    skies, now_s, heard = Skies(), NOW_S, []
    for k, gap in enumerate(gaps):
        now_s += gap * HOUR_S
        told = sound(table(now_s, level=100.0 * k), SITE)
        heard.append((now_s, told))
        skies = skies.heard(told, now_s, 60 * 86_400)
    archive = skies.archive
    assert (np.diff(archive.grid.edges_s) == HOUR_S).all()
    for t_s, temp, known_s in zip(
        archive.grid.starts_s, archive.columns["temp_c"], archive.known_s, strict=True
    ):
        spoke = [(s, w) for s, w in heard if w.grid.start_s <= t_s < w.grid.end_s]
        if not spoke:
            assert np.isnan(temp)
            assert known_s == -1
            continue
        early = [(s, w) for s, w in spoke if s <= t_s - NOTICE_S]
        said_s, by = early[-1] if early else spoke[0]
        assert known_s == said_s
        assert temp == by.columns["temp_c"][(t_s - by.grid.start_s) // HOUR_S]
    seen = skies.at(now_s)
    first = (skies.newest.grid.start_s - seen.grid.start_s) // HOUR_S
    assert (seen.columns["temp_c"][first : first + 48] == skies.newest.columns["temp_c"]).all()
    assert (seen.known_s <= now_s).all()


def test_the_past_is_forgotten_and_the_rest_is_kept_as_bytes():
    """Only so much of the past is kept; as bytes and back it is the same."""
    skies = Skies()
    for day in range(20):
        now_s = NOW_S + day * 86_400
        skies = skies.heard(sound(table(now_s), SITE), now_s, 5 * 86_400)
    assert skies.archive.grid.start_s == now_s - 5 * 86_400
    again = from_bytes(to_bytes(skies))
    assert again.archive.columns["temp_c"].tobytes() == skies.archive.columns["temp_c"].tobytes()
    assert again.newest.grid.edges_s.tolist() == skies.newest.grid.edges_s.tolist()


@pytest.mark.parametrize("step_s", [900, 1800, 3600, 10_800])
def test_any_step_becomes_hours(step_s):
    """Means over hours of shorter steps, the value itself of longer ones; all light is kept."""
    told = table(step_s=step_s)
    hours = sound(told, SITE)
    assert (np.diff(hours.grid.edges_s) == HOUR_S).all()
    assert hours.columns["ghi_w_m2"].mean() == pytest.approx(told.columns["ghi_w_m2"].mean(), rel=1e-5)


@pytest.mark.parametrize("shift_h", [-12, -7, -4, 4, 7, 9])
def test_a_wrong_zone_is_refused(shift_h):
    """Light while the sun is down: the clock is another, and the fault says so."""
    found = sound(table(shift_s=shift_h * HOUR_S), SITE)
    assert isinstance(found, Rejected)
    assert "zone" in found.reason
    assert isinstance(sound(table(), SITE), Weather)


class Source:
    """A source in a mood."""

    def __init__(self, mood):
        self.mood, self.gate, self.asked = mood, threading.Event(), 0

    def newest(self, now_s):
        """Says, errs, refuses, waits."""
        self.asked += 1
        if self.mood == "errs":
            raise OSError("no route")
        if self.mood == "waits":
            self.gate.wait(20.0)
        if self.mood == "refuses":
            return None, (Rejected("weather", "rows", (), "none"),)
        if self.mood == "elsewhere":
            return table(shift_s=9 * HOUR_S), ()
        return table(now_s - now_s % 21_600), ()


@pytest.mark.parametrize(
    ("mood", "cause"), [("errs", FAILED), ("refuses", REFUSED), ("elsewhere", REFUSED), ("waits", LATE)]
)
def test_no_source_stops_a_tick(mood, cause):
    """What raises, refuses or does not answer is a trouble while it lasts; then weather comes again."""
    source = Source(mood)
    way = SkyWay(source, SITE, 900, 0.05 if mood == "waits" else 20.0)
    for now_s in (NOW_S, NOW_S + 60):
        found, troubles = way.listen(now_s, None)
        assert found is None
        assert [text.partition(":")[0] for text in troubles] == [cause]
    assert source.asked == 1
    source.mood = "says"
    source.gate.set()
    for k in range(200):
        found, troubles = way.listen(NOW_S + 900 + k, None)
        if found is not None:
            break
        threading.Event().wait(0.05)
    assert found is not None
    assert not troubles


def test_the_same_forecast_is_no_news():
    """A source is asked once a period, and what it says again is not heard again."""
    source = Source("says")
    way = SkyWay(source, SITE, 900, 20.0)
    first, _ = way.listen(NOW_S, None)
    assert way.listen(NOW_S + 60, first) == (None, ())
    assert way.listen(NOW_S + 900, first) == (None, ())
    assert source.asked == 2
    assert way.listen(NOW_S + 21_600, first)[0] is not None
    assert SkyWay(None, SITE, 900, 20.0).listen(NOW_S, None) == (None, ())


def test_what_lies_too_far_ahead_is_not_kept():
    """Steps beyond a month ahead leave no mark: neither a whole table of them nor the end of one."""
    kept = Skies().heard(sound(table(), SITE), NOW_S, 60 * 86_400)
    assert kept.heard(sound(table(NOW_S + 365 * 86_400), SITE), NOW_S, 60 * 86_400) is kept
    long = kept.heard(sound(table(hours=24 * 50), SITE), NOW_S, 60 * 86_400)
    assert long.archive.grid.end_s == NOW_S + 30 * 86_400 + HOUR_S
    assert long.reaches_s() == NOW_S + 30 * 86_400 + HOUR_S


def test_skies_of_another_version_are_begun_anew():
    """Kept bytes that cannot be read stop nothing: what is heard next begins the archive."""
    data = to_bytes(Skies())
    for bad in (b"", b"GFK1", data[:-3], data[:20], to_bytes(("no", "skies"))):
        assert (_kept(Skies, bad) or Skies()).archive is None


def test_an_answer_that_never_comes_is_given_up():
    """After some periods of silence a source is asked again, and what it says then is heard."""
    source = Source("waits")
    way = SkyWay(source, SITE, 900, 0.05)
    assert way.listen(NOW_S, None)[0] is None
    assert way.listen(NOW_S + 900, None)[0] is None
    assert source.asked == 1
    source.mood = "says"
    way._patience_s = 20.0
    assert way.listen(NOW_S + 4 * 900, None)[0] is not None
    assert source.asked == 2
    source.gate.set()
