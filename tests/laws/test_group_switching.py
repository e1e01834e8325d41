"""A town switches, and its virtual DERs follow: by section, feeder, island and transformer."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from gridflock.fleet import Fleet, Groups
from gridflock.fleet.groups import Rule, Zones
from gridflock.fleet.groups._follow import Cause
from gridflock.grid.build import assemble
from gridflock.grid.change import CloseSwitch, OpenSwitch, apply
from gridflock.grid.islands import membership

NOON_S = 1_700_020_000
sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("town_world")


@pytest.fixture(scope="module")
def town():
    """Three feeders with a tie between each and the next."""
    return assemble(world.town(7))


def zones_of(network):
    """What each bus belongs to in a version of the network, level by level."""
    found = membership(network)
    islands = tuple(str(k) for k in range(network.topology.islands))
    return (
        Zones("feeder", network.buses, found.source, network.sources),
        Zones("section", network.buses, found.section, network.sections),
        Zones("transformer", network.buses, found.transformer, network.branches).inhabited(),
        Zones("island", network.buses, found.island, islands),
    )


def settled(network):
    """A battery and a house on every bus, in groups that follow the topology."""
    rows = [
        {"id": f"{kind}@{bus}", "kind": kind, "bus": bus, "phases": "a", "p_max_kw": size}
        for bus in network.buses
        for kind, size in (("battery_home", 5), ("load", 0))
    ]
    fleet, rejected = Fleet.from_rows(rows, dict.fromkeys(network.buses, 7))
    assert rejected == ()
    groups = Groups(fleet)
    faults = [groups.add("all", "All", rule=Rule())]
    feeder, *others = zones_of(network)
    faults.append(groups.add_level("feeder", feeder, parents=("all",)))
    faults += [groups.add_level(zones.level, zones) for zones in others]
    faults.append(
        groups.add("reserve/f1", "Batteries of f1", rule=Rule("kind = battery_home", inside=("feeder/f1",)))
    )
    assert not any(faults), faults
    return groups


def members(groups, name):
    """Ids of the members of a group."""
    return {groups.fleet.ids[row] for row in groups.rows(name)}


def test_a_lateral_moves_to_the_next_feeder_and_back(town):
    """Who is behind the switch joins the other feeder, its reserve and its sums; the log says who and why."""
    morning = settled(town)
    moved = apply(town, OpenSwitch("f0s3"), CloseSwitch("tie0"))
    noon, changes = morning.follow(morning.fleet, zones_of(moved), NOON_S)
    behind = {
        town.buses[k] for k in np.flatnonzero(membership(town).source != membership(moved).source).tolist()
    }
    assert {"f0b3", "f0b4", "f0b5", "f0lv"} <= behind
    expected = {f"{kind}@{bus}" for bus in behind for kind in ("battery_home", "load")}
    assert set(changes.of("feeder/f0")[1]) == set(changes.of("feeder/f1")[0]) == expected
    assert changes.of("all") == ((), ())
    assert set(changes.of("reserve/f1")[0]) == {name for name in expected if name.startswith("battery")}
    assert members(noon, "reserve/f1") == members(morning, "reserve/f1") | set(changes.of("reserve/f1")[0])
    by_group = [changes.groups[g] for g in changes.group.tolist()]
    causes = dict(zip(by_group, changes.why.tolist(), strict=True))
    assert causes["feeder/f1"] == Cause.TOPOLOGY
    assert causes["reserve/f1"] == Cause.RULE
    assert noon.version("reserve/f1") == (NOON_S, 1, 1, 0)
    assert members(noon, "transformer/f0t") == members(morning, "transformer/f0t")
    back, again = noon.follow(noon.fleet, zones_of(town), NOON_S + 60)
    assert set(again.of("feeder/f0")[0]) == expected
    for name in morning.ids:
        assert members(back, name) == members(morning, name)
    power = np.arange(len(morning.fleet.ids), dtype=float)
    for groups in (morning, noon, back):
        sums = dict(zip(groups.ids, groups.aggregate(power), strict=True))
        assert sums["feeder/f0"] + sums["feeder/f1"] + sums["feeder/f2"] == power.sum()


def test_a_dead_lateral_leaves_its_feeder(town):
    """Who is cut off belongs to no feeder, no section, but to the whole and to a dead island."""
    groups = settled(town)
    dark = apply(town, OpenSwitch("f2s3"))
    after, changes = groups.follow(groups.fleet, zones_of(dark), NOON_S)
    dead = {dark.buses[k] for k in np.flatnonzero(~dark.topology.bus_live).tolist()}
    assert dead
    gone = {f"{kind}@{bus}" for bus in dead for kind in ("battery_home", "load")}
    assert set(changes.of("feeder/f2")[1]) == gone
    assert members(after, "all") == members(groups, "all")
    for name in gone:
        held = after.of(name)
        assert not any(group.startswith(("feeder/", "section/")) for group in held)
        assert any(group.startswith("island/") for group in held)
    assert changes.rejected == ()
    assert members(groups, "feeder/f2") >= gone
