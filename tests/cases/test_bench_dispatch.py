"""The bench of the fast tick on a small fleet: its own checks hold, and it says what it measured."""

from gridflock.bench import dispatch


def test_the_fast_tick_of_a_small_fleet_counts():
    """Every order is inside what its resource can do, shortfalls have causes, and all figures are there."""
    found = dispatch(3_000, 4, seed=2)
    assert found["counts"], found["why_not"]
    assert found["orders"] > 0
    assert found["most_orders"] <= 3_000
    assert found["p50_ms"] <= found["p99_ms"]
    assert found["compute_ms"] <= found["p50_ms"]
    assert found["ratio_vs_numpy"] > 0.0
