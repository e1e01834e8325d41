"""Laws of the runtime: same inputs same ledger, previews that are the decision, clocks, users, pasts."""

import json
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.dispatch.guard._limits import OWN
from gridflock.model import Priority, Proposal
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    ProposalRejected,
    Role,
    Settings,
    System,
    Users,
    plain,
    rehearse,
)
from gridflock.runtime._book import Book, from_head, to_head
from gridflock.runtime._clock import VirtualClock
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._sites import Sites
from gridflock.runtime._subjects import OUTSIDE
from gridflock.sim import Scenario, World, feeder_document

SCENARIO = Scenario(ders=120, seed=7)
JOIN_S = 15 * 3_600


@pytest.fixture(scope="module")
def world():
    """A small world at midnight."""
    return World(SCENARIO)


@pytest.fixture(scope="module")
def system(world):
    """The system that is told of it."""
    return System.build(feeder_document(SCENARIO.feeder), world.registry)


@pytest.fixture(scope="module")
def derms(tmp_path_factory):
    """A system two minutes into its afternoon."""
    found, _ = rehearse(tmp_path_factory.mktemp("laws"), SCENARIO, Settings(), join_s=JOIN_S)
    for _ in range(2):
        found.clock.sleep_until(found.tick().now_s + 60)
    yield found
    found.close()


# ---- determinism ---------------------------------------------------------------------------------


def _head(folder, tick_s=60, ticks=20):
    derms, _ = rehearse(folder, SCENARIO, Settings(tick_s=tick_s), join_s=JOIN_S)
    for k in range(ticks):
        moment = derms.tick()
        if k == 3:
            derms.propose(LOCAL, "all", p_lo_kw=-9_000.0, minutes=10, why="law", dry_run=True)
            derms.propose(LOCAL, "type/battery_home", p_kw=3.0, minutes=10, why="law")
        derms.clock.sleep_until(moment.now_s + tick_s)
    head = derms.verify(LOCAL).head
    derms.close()
    return head


def test_two_identical_lives_have_one_ledger(tmp_path):
    """Same scenario, settings and wishes: the hash of the last entry, and so every byte, is the same."""
    assert _head(tmp_path / "a") == _head(tmp_path / "b")


def test_any_tempo_plans_once_a_slow_period(tmp_path):
    """A fast tempo that does not divide the slow one still plans in every quarter of an hour."""
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(tick_s=70), join_s=JOIN_S)
    for _ in range(30):
        derms.clock.sleep_until(derms.tick().now_s + 70)
    made = [entry.time_s // 900 for entry in derms._record.entries(0, {"plan"})]
    derms.close()
    assert np.diff(made).tolist() == [1] * (len(made) - 1)
    assert len(made) == 3


# ---- previews ------------------------------------------------------------------------------------


def _wish(now_s, group, p_kw):
    return Proposal("law", group, Priority.OPERATOR, "law", "law", now_s, now_s + 600, p_kw)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(p_kw=st.floats(-40, 40), group=st.sampled_from(["type/battery_home", "section/s4", "phase/a"]))
def test_a_rehearsal_is_the_decision(derms, p_kw, group):
    """What a dry run decides is what the tick decides with the wish in the book: targets and grants.

    And it changes nothing: the same rehearsal again, and the state it was made from, are the same.
    """
    loop, moment = derms._loop, derms.moment
    wish = _wish(moment.now_s, group, p_kw)
    response, state = loop.response, loop._state
    first, after = loop.rehearse(moment, [wish])
    loop.book.add(wish)
    decided = loop.deciding.decide(loop.system, moment.image, moment.envelopes, loop.book.open(), loop.rules)
    loop.book.withdraw("law")
    again, after_again = loop.rehearse(moment, [wish])
    for other in (decided, again):
        assert np.array_equal(first.targets.p_kw, other.targets.p_kw, equal_nan=True)
        assert np.array_equal(first.orders.index, other.orders.index)
        assert [g.given_kw for g in first.grants] == [g.given_kw for g in other.grants]
    assert np.array_equal(after.v_pu, after_again.v_pu)
    assert loop.response is response
    assert loop._state is state


_BOUND = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), want=st.none() | st.floats(-20, 20), lo=_BOUND, hi=_BOUND)
def test_whatever_is_asked_of_whomever_is_answered(derms, data, want, lo, hi):
    """Any group or resource, any finite numbers: faults by name, or an answer of strict JSON."""
    group = data.draw(st.sampled_from(sorted(derms._loop.system.rows_of)))
    wish = {"p_kw": want, "p_lo_kw": lo, "p_hi_kw": hi}
    answer, faults = None, ()
    try:
        answer = derms.propose(LOCAL, group, **wish, minutes=30, dry_run=True)
    except ProposalRejected as refused:
        faults = refused.faults
    assert all(fault.field and fault.rule and fault.reason for fault in faults)
    assert faults or json.loads(json.dumps(plain(answer), allow_nan=False))["dry_run"]


def test_one_author_cannot_fill_the_book(tmp_path):
    """Beyond two hundred proposals in force the next is refused; withdrawing one makes room."""
    found, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S)
    moment = found.tick()
    for k in range(200):
        wish = replace(_wish(moment.now_s, "all", 0.0), id=f"local-{k}", author="local")
        found._loop.book.add(wish)
    with pytest.raises(ProposalRejected, match="200 in force"):
        found.propose(LOCAL, "all", p_lo_kw=-9_000.0, minutes=5)
    found.withdraw(LOCAL, "local-7")
    assert found.propose(LOCAL, "all", p_lo_kw=-9_000.0, minutes=5).seq
    found.close()


@settings(max_examples=50, deadline=None)
@given(
    want=st.none() | st.floats(-1e6, 1e6),
    lo=st.floats(-1e6, 1e6) | st.just(-np.inf),
    hi=st.floats(-1e6, 1e6) | st.just(np.inf),
    why=st.text(max_size=30),
)
def test_a_wish_survives_the_ledger(want, lo, hi, why):
    """To a head of strict JSON and back it is the same wish."""
    wish = Proposal("a-1", "all", Priority.OPERATOR, "anna", why, 60, 120, want, lo, hi)
    head = json.loads(json.dumps(to_head(wish), allow_nan=False))
    assert from_head(head) == wish


def test_a_book_forgets_what_is_over():
    """A wish ends at its end, not a second later; who is taken out is told once."""
    book = Book()
    book.add(_wish(0, "all", 1.0))
    assert book.expire(599) == ()
    assert [p.id for p in book.expire(600)] == ["law"]
    assert book.open() == ()
    assert book.withdraw("law") is None


# ---- the day's peak ------------------------------------------------------------------------------


def test_the_peak_is_that_of_the_feeders_own_day(derms):
    """It begins anew at midnight of the feeder's time zone, wherever UTC's midnight falls."""
    loop = derms._loop
    zone = ZoneInfo(loop.system.network.timezone)
    midnight = int(datetime(2026, 7, 16, tzinfo=zone).timestamp())
    utc_midnight = int(datetime(2026, 7, 16, tzinfo=UTC).timestamp())
    assert midnight != utc_midnight
    before = loop._peak_kw, loop._peak_day
    for t_s, head_kw in ((utc_midnight - 60, -500.0), (utc_midnight, -100.0), (midnight - 1, -200.0)):
        loop._note_peak(t_s, head_kw)
    assert loop._peak_kw >= 500.0
    loop._note_peak(midnight + 7, -50.0)
    assert loop._peak_kw == 50.0
    loop._note_peak(midnight + 60, 30.0)
    assert loop._peak_kw == 50.0
    loop._peak_kw, loop._peak_day = before


# ---- the past ------------------------------------------------------------------------------------


def _past(system):
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    return Past(system.groups, sites, system.fleet.family, system.fleet.columns)


def _lived(system, times):
    """A past of constant offers and powers that differ by moment, and those values."""
    past, fleet = _past(system), system.fleet
    values = {}
    for t_s in times:
        p_kw = np.full(len(fleet.ids), -1.0 - t_s % 7, dtype=np.float32)
        heard_s = np.full(len(fleet.ids), t_s)
        past.add(replace(fleet.image(t_s), p_kw=p_kw, p_avail_kw=-2 * p_kw, heard_s=heard_s))
        values[t_s] = p_kw[0]
    return past, values


@settings(max_examples=30, deadline=None)
@given(offsets=st.lists(st.integers(0, 6 * STEP_S - 1), min_size=2, max_size=20, unique=True))
def test_a_step_is_the_mean_of_its_images_and_a_gap_is_absent(system, offsets):
    """Per series and quarter-hour: the mean of what was seen in it, NaN where nothing was seen."""
    start_s = 1_800_000_000 - 1_800_000_000 % STEP_S
    times = sorted(start_s + t for t in offsets)
    past, values = _lived(system, times)
    history = past.history()
    begun = [t - t % STEP_S for t in times]
    closed = sorted({s for s in begun if s < begun[-1]})
    assert history.grid.n == (0 if not closed else (closed[-1] - closed[0]) // STEP_S + 1)
    rows = {g: len(system.rows_of[g]) for g in past.plan_groups if g.startswith("plan/sun/")}
    for k, step in enumerate(history.grid.starts_s if closed else ()):
        seen = [values[t] for t in times if t - t % STEP_S == step]
        for group, members in rows.items():
            found = history.value_kw[history.series.index(group), k]
            if seen:
                assert found == pytest.approx(-2 * members * np.mean(seen), rel=1e-5)
            else:
                assert np.isnan(found)


def test_a_snapshot_of_the_past_is_the_past(system):
    """Closed steps, the open one, and the learnt ratio come back; what follows is learnt the same."""
    start_s = 1_800_000_000 - 1_800_000_000 % STEP_S
    times = [start_s + 60 * k for k in range(50)]
    whole, _ = _lived(system, times)
    half, _ = _lived(system, times[:40])
    back = _past(system)
    assert back.restore(half.to_bytes())
    assert back.to_bytes() == half.to_bytes()
    for t_s in times[40:]:
        p_kw = np.full(len(system.fleet.ids), -1.0 - t_s % 7, dtype=np.float32)
        heard_s = np.full(len(system.fleet.ids), t_s)
        back.add(replace(system.fleet.image(t_s), p_kw=p_kw, p_avail_kw=-2 * p_kw, heard_s=heard_s))
    one, other = whole.history(), back.history()
    assert np.array_equal(one.grid.edges_s, other.grid.edges_s)
    assert np.allclose(one.value_kw, other.value_kw, equal_nan=True)
    assert one.series[-1] == OUTSIDE


def test_a_snapshot_of_other_groups_is_not_taken(system, world):
    """A past of another registry is refused whole."""
    fewer = System.build(
        feeder_document(SCENARIO.feeder), [r for r in world.registry if r["kind"] != "BATTERY_HOME"]
    )
    past = _past(fewer)
    before = past.to_bytes()
    assert not past.restore(_past(system).to_bytes())
    assert past.to_bytes() == before


def test_a_closed_step_is_not_counted_again(system):
    """Images older than the last closed step change nothing: a replay may overlap."""
    start_s = 1_800_000_000 - 1_800_000_000 % STEP_S
    past, _ = _lived(system, [start_s, start_s + STEP_S, start_s + 2 * STEP_S])
    before = past.to_bytes()
    past.add(system.fleet.image(start_s + 60))
    assert past.to_bytes() == before


# ---- clocks --------------------------------------------------------------------------------------


@given(steps=st.lists(st.integers(-100, 1_000), max_size=20))
def test_an_unpaced_clock_jumps_and_never_goes_back(steps):
    """It is where it was told to be, or already later."""
    clock, latest = VirtualClock(1_000), 1_000
    for step in steps:
        target = clock.now_s() + step
        clock.sleep_until(target)
        latest = max(latest, target)
        assert clock.now_s() == latest


def test_a_paced_clock_waits_its_time_unless_it_is_stopped():
    """Ten virtual seconds at a hundredfold speed are a tenth of a second; a stop ends the wait."""
    clock = VirtualClock(0, 100.0)
    began = time.monotonic()
    clock.sleep_until(10)
    assert time.monotonic() - began >= 0.09
    stop = Event()
    stop.set()
    began = time.monotonic()
    VirtualClock(0, 1.0, stop).sleep_until(3_600)
    assert time.monotonic() - began < 60


# ---- users ---------------------------------------------------------------------------------------


def test_a_token_is_stored_nowhere_and_its_file_is_its_owners(tmp_path):
    """No file of the folder holds a token or a part of it; users.json is 0600 whatever lay there."""
    (tmp_path / "users.tmp").write_text("left by a death")
    (tmp_path / "users.tmp").chmod(0o666)
    users = Users(tmp_path)
    tokens = [users.add(name, Role.OPERATOR) for name in ("anna", "bert")]
    assert len(set(tokens)) == 2
    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode()
    assert not [token for token in tokens if token in stored or token[3:23] in stored]
    assert {users.scope(token).user for token in tokens} == {"anna", "bert"}
    assert users.scope(tokens[0][:-1]) is None
    assert users.scope("") is None


def test_a_damaged_user_file_lets_nobody_in(tmp_path, caplog):
    """Deny by default; the log says why and names no token; the mended file works again."""
    users = Users(tmp_path)
    token = users.add("anna", Role.ADMIN)
    good = (tmp_path / "users.json").read_text()
    for bad in ("", "{", "[]", '{"anna": 1}', good.replace("ADMIN", "KING")):
        (tmp_path / "users.json").write_text(bad)
        assert users.scope(token) is None
    assert "users.json" in caplog.text
    assert token not in caplog.text
    (tmp_path / "users.json").write_text(good)
    assert users.scope(token).role is Role.ADMIN
    (tmp_path / "users.json").unlink()
    assert users.scope(token) is None


def test_no_user_is_named_like_an_author_without_a_budget(tmp_path):
    """Whatever the guard takes for the program's own, and the system above, is nobody's name."""
    for name in (*OWN, "above"):
        with pytest.raises(ValueError, match="system's own"):
            Users(tmp_path).add(name, Role.OPERATOR)
    assert Users(tmp_path).names() == {}


ROLES = list(Role)


@given(
    mine=st.frozensets(st.sampled_from("abcd")),
    line=st.frozensets(st.sampled_from("abcd"), min_size=1),
    role=st.sampled_from(ROLES),
    needed=st.sampled_from(ROLES),
)
def test_authority_is_a_role_and_a_subtree(mine, line, role, needed):
    """Refused exactly where the role is lower or no ancestor is in the scope; ``all`` is everything."""
    from gridflock.runtime import Scope

    scope = Scope("anna", role, mine)
    if role < needed:
        with pytest.raises(AccessDenied):
            scope.require(needed)
    else:
        scope.require(needed)
    if mine & line:
        scope.require_group(line)
    else:
        with pytest.raises(AccessDenied):
            scope.require_group(line)
    Scope("anna", role, mine | {"all"}).require_group(line)
