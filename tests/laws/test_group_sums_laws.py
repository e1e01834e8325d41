"""Laws of levels and sums: whatever the structure, a group's sum is that of its members, each once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._million import NOON_S, million
from gridflock.fleet import Fleet, Groups, capability, group_status, reactive_room
from gridflock.fleet.groups import ByRow, Rule, Zones
from gridflock.fleet.groups._sums import Partition, Sums, cut, joint
from gridflock.schema import Family

seeds = st.integers(0, 2**32 - 1)


def town(n=120, seed=0):
    """A small fleet with its places."""
    return Fleet(million(n, seed).registry)


def towered(fleet):
    """Premises in transformers in feeders in the whole, as levels."""
    groups = Groups(fleet)
    assert groups.add("all", "All", rule=Rule()) == ()
    assert groups.add_level("feeder", "feeder", parents=("all",)) == ()
    assert groups.add_level("transformer", "transformer", parents=("feeder",)) == ()
    assert groups.add_level("premise", "bus", parents=("transformer",)) == ()
    return groups


def plain(rows, values):
    """Sum, count, lowest and highest of some rows, absent values left out."""
    mine = values[rows][~np.isnan(values[rows])].astype(np.float64)
    return mine.sum(), len(mine), mine.min(initial=np.inf), mine.max(initial=-np.inf)


def assert_sums(groups, values):
    """Every group's sum, mean, lowest and highest are those of its rows."""
    sums, means = groups.aggregate(values), groups.aggregate(values, "mean")
    lows, highs = groups.aggregate(values, "min"), groups.aggregate(values, "max")
    for g, name in enumerate(groups.ids):
        for k, column in enumerate(values):
            total, count, low, high = plain(groups.rows(name), column)
            assert sums[k, g] == pytest.approx(total, abs=1e-9), name
            expected = (total / count, low, high) if count else (np.nan,) * 3
            got = (means[k, g], lows[k, g], highs[k, g])
            np.testing.assert_allclose(got, expected, atol=1e-9, err_msg=name)
        assert groups.sums.members[g] == len(groups.rows(name))


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Loops are compiled, or read from their cache, before a law's first example is timed."""
    for dtype in (np.float32, np.float64):
        assert_sums(towered(town(30)), np.ones((6, 30), dtype=dtype))


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 7), st.booleans())
def test_any_structure_sums_its_members(seed, k, as_float32):
    """Levels above levels, overlapping groups, rules and groups of groups all sum what they hold."""
    rng = np.random.default_rng(seed)
    fleet = town(80, seed)
    groups = towered(fleet)
    n = len(fleet.ids)
    for i in range(int(rng.integers(4))):
        labels = tuple(f"x{j}" for j in range(int(rng.integers(1, 9))))
        code = rng.integers(-1, len(labels), n).astype(np.int32)
        assert groups.add_level(f"mix{i}", ByRow(labels, code)) == ()
    for i in range(int(rng.integers(6))):
        members = [name for name in fleet.ids if rng.random() < 0.2]
        below = [name for name in groups.ids if rng.random() < 0.02]
        assert groups.add(f"own{i}", "Own", members, children=below) == ()
    values = rng.normal(size=(k, n)).astype(np.float32 if as_float32 else np.float64)
    values[:, rng.random(n) < 0.2] = np.nan
    assert_sums(groups, values)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_group_of_a_level_may_be_given_more(seed):
    """Members from elsewhere count in the level's group and in all above it, once, and nowhere else."""
    rng = np.random.default_rng(seed)
    fleet = town(60, seed)
    groups = towered(fleet)
    before = {name: groups.rows(name) for name in groups.ids}
    chosen = str(rng.choice([name for name in groups.ids if name.startswith("transformer/")]))
    guests = [name for name in fleet.ids if rng.random() < 0.1]
    assert groups.add("guests", "Guests", guests, parents=[chosen]) == ()
    rows = np.array(sorted(fleet.row_of[name] for name in guests), dtype=np.int32)
    holders = {chosen, *groups.parents(chosen), "all"}
    for name, old in before.items():
        expected = np.union1d(old, rows) if name in holders else old
        np.testing.assert_array_equal(groups.rows(name), expected)
    assert_sums(groups, rng.normal(size=(2, len(fleet.ids))))
    assert groups.remove("guests") == ()
    for name, old in before.items():
        np.testing.assert_array_equal(groups.rows(name), old)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 40))
def test_running_sums_follow_single_changes(seed, m):
    """Sums kept up to date by changes of some rows are those of the changed columns."""
    rng = np.random.default_rng(seed)
    fleet = town(80, seed)
    groups = towered(fleet)
    assert groups.add("some", "Some", fleet.ids[::3], children=["feeder/" + fleet.labels["feeder"][0]]) == ()
    values = rng.normal(size=(3, 80))
    values[:, rng.random(80) < 0.2] = np.nan
    running = groups.sums.running(values)
    rows = rng.permutation(80)[:m].astype(np.int32)
    news = np.where(rng.random((3, m)) < 0.2, np.nan, rng.normal(size=(3, m)))
    running.change(rows, values[:, rows], news)
    values[:, rows] = news
    np.testing.assert_allclose(running.sums, groups.aggregate(values), atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 60), st.integers(0, 6))
def test_cutting_parts_rows_by_their_groups(seed, n, count):
    """Rows share a part exactly where they shared one before and are in the same of the groups."""
    rng = np.random.default_rng(seed)
    before = np.unique(rng.integers(4, size=n), return_inverse=True)[1].astype(np.int32)
    groups = [np.flatnonzero(rng.random(n) < 0.4).astype(np.int32) for _ in range(count)]
    part, parts, held = cut(before, int(before.max()) + 1, groups)
    signs = [(before[row], *(row in rows for rows in groups)) for row in range(n)]
    for one in range(n):
        for other in range(one):
            assert (part[one] == part[other]) == (signs[one] == signs[other])
    assert sorted(set(part.tolist())) == list(range(parts))
    for rows, mine in zip(groups, held, strict=True):
        assert set(np.flatnonzero(np.isin(part, mine))) == set(rows.tolist())
    pair = joint(before, int(before.max()) + 1, part, parts)
    assert pair is None or pair[1] == parts


def test_only_the_finest_level_is_read_from_rows():
    """Nested levels cost one pass over the rows, the groups above them only their children."""
    fleet = town(2_000)
    groups = towered(fleet)
    assert len(groups.sums._passes) == 1
    assert [first for first, _ in groups.sums._climbs] == [
        groups.at(next(name for name in groups.ids if name.startswith(f"{level}/")))
        for level in ("premise", "transformer")
    ]
    assert groups.sums._lists.target.tolist() == [groups.at("all")]


def test_small_levels_and_many_groups_share_a_pass():
    """Kinds, providers and overlapping groups are summed from their common parts, read once."""
    fleet = town(5_000)
    groups = Groups(fleet)
    for name in ("kind", "provider"):
        assert groups.add_level(name, name) == ()
    for i in range(4):
        assert groups.add(f"own{i}", "Own", fleet.ids[i :: i + 2]) == ()
    assert len(groups.sums._passes) == 1
    assert_sums(groups, np.random.default_rng(0).normal(size=(1, 5_000)))


def test_sums_of_columns_are_those_of_the_stack():
    """Columns may come one by one, of several types; truth counts as one; lengths are checked."""
    fleet = town(50)
    groups = towered(fleet)
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=50).astype(np.float32), rng.normal(size=50), rng.random(50) < 0.5
    expected = np.stack([groups.aggregate(x.astype(np.float64)) for x in (a, b, c)])
    np.testing.assert_allclose(groups.aggregate([a, b, c]), expected, atol=1e-6)
    with pytest.raises(ValueError, match="50 rows"):
        groups.aggregate(np.ones(49))


def test_long_sums_keep_their_last_digits():
    """Sums of float32 columns are float64 to the last group: a million cents make no error of cents."""
    n = 200_000
    rows = np.arange(n, dtype=np.int32)
    level = Partition((rows // 5).astype(np.int32), np.full(n // 5, 5, dtype=np.int64), 1)
    values = np.random.default_rng(0).normal(1e3, 1.0, n).astype(np.float32)
    got = Sums(n, n // 5 + 1, [level], {0: rows}).sums(values)[0, 0]
    exact = float(np.sum(values.astype(np.longdouble)))
    assert abs(got - exact) <= 1e-12 * exact


def test_a_group_of_a_level_costs_nothing_before_it_is_asked_for():
    """Groups of a level are found by name, with title, members and relatives."""
    fleet = town(300)
    groups = towered(fleet)
    assert groups.add_level("zone", Zones.of_map("zone", {"bus-0": "a/b"}), title="Zone {}") == ()
    bus = fleet.labels["bus"][7]
    row = int(np.flatnonzero(fleet.columns["bus"] == 7)[0])
    transformer = fleet.labels["transformer"][fleet.columns["transformer"][row]]
    name = f"premise/{bus}"
    assert name in groups
    assert "premise/nowhere" not in groups
    assert groups.parents(name) == (f"transformer/{transformer}",)
    assert name in groups.children(f"transformer/{transformer}")
    np.testing.assert_array_equal(groups.rows(name), np.flatnonzero(fleet.columns["bus"] == 7))
    assert groups.ids[groups.at(name)] == name
    assert {name, f"transformer/{transformer}", "all"} <= set(groups.of(fleet.ids[row]))
    assert groups.title("zone/other") == "Zone other"
    assert "zone/a/b" in groups
    for verb in (groups.rows, groups.title, groups.parents, groups.children, groups.at, groups.version):
        with pytest.raises(KeyError):
            verb("premise/nowhere")


def test_a_faulty_level_is_refused_and_changes_nothing():
    """Taken names, slashes, attributes without codes, codes that do not fit and torn groups are named."""
    fleet = town(100)
    groups = towered(fleet)
    assert groups.add("lane/1", "Lane") == ()
    before = groups.ids
    n, none = len(fleet.ids), np.zeros(0, dtype=np.int32)
    code = np.zeros(n, dtype=np.int32)
    faulty = {
        "is the name of a level": groups.add_level("feeder", "feeder"),
        "without a slash": groups.add_level("a/b", "feeder"),
        "printable": groups.add_level(" ", "feeder"),
        "groups with ids of level": groups.add_level("lane", "feeder"),
        "unknown levels or groups": groups.add_level("x", "feeder", parents=("nowhere",)),
        "is no attribute that divides": groups.add_level("x", "p_max_kw"),
        "expected a whole number for each": groups.add_level("x", ByRow(("a",), none)),
        "outside": groups.add_level("x", ByRow(("a",), code + 1)),
        "repeated": groups.add_level("x", ByRow(("a", "a"), code)),
        "not all in one group": groups.add_level("x", ByRow(("a",), code), parents=("premise",)),
    }
    for words, rejected in faulty.items():
        assert [words in fault.reason for fault in rejected] == [True], words
    assert groups.ids == before


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_status_holds_the_extremes_of_the_members(seed):
    """Voltage and filling lie between those of the members, bounds are their sums, moments the newest."""
    drawn = million(70, seed)
    fleet = drawn.fleet()
    groups = towered(fleet)
    assert groups.add("mine", "Mine", fleet.ids[::3]) == ()
    image = fleet.image(NOON_S + 5)
    can, room = capability(image), reactive_room(image)
    status = group_status(groups, image, can)
    assert status.now_s == NOON_S + 5
    reach = ~np.isnan(image.e_kwh) & ~((image.family == Family.VEHICLE) & (image.ready == 0))
    full = np.where(reach, fleet.columns["e_max_kwh"], np.nan).astype(np.float64)
    filling = np.where(full > 0, image.e_kwh / np.where(full > 0, full, 1.0), np.nan)
    for g, name in enumerate(groups.ids):
        rows = groups.rows(name)
        for values, low, high in (
            (image.v_pu, status.v_min_pu, status.v_max_pu),
            (filling, status.soc_min_pu, status.soc_max_pu),
        ):
            _, count, lowest, highest = plain(rows, np.asarray(values))
            expected = (lowest, highest) if count else (np.nan, np.nan)
            np.testing.assert_allclose((low[g], high[g]), expected, atol=1e-6)
        volts = image.v_pu[rows].astype(np.float64)
        assert np.isnan(volts).all() or status.v_pu[g] == pytest.approx(np.nanmean(volts), abs=1e-9)
        if full[rows][full[rows] > 0].size:
            assert status.soc_min_pu[g] - 1e-6 <= status.soc_pu[g] <= status.soc_max_pu[g] + 1e-6
        assert status.q_hi_kvar[g] == -status.q_lo_kvar[g] == pytest.approx(room[rows].sum(), abs=1e-9)
        assert status.p_hi_kw[g] == pytest.approx(can.p_hi_kw[rows].sum(), abs=1e-6)
        assert status.heard_s[g] == image.heard_s[rows].max(initial=-1)
