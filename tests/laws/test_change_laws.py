"""Laws of changes of elements: what is added and removed, and what is refused with every reason."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import gridflock
from gridflock.grid import initial
from gridflock.grid.build import (
    Branch,
    Bus,
    End,
    Parts,
    Port,
    Regulator,
    Shunt,
    assemble,
    from_document,
)
from gridflock.grid.change import (
    AddElement,
    ChangeRejected,
    CloseSwitch,
    LockTap,
    OpenSwitch,
    Outage,
    RemoveElement,
    Restore,
    apply,
    follow,
)
from gridflock.grid.islands import membership

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("town_world")
ABC, V_LOW, V_MEDIUM = world.ABC, world.V_LOW, world.V_MEDIUM
delta_wye, line, series, source = world.delta_wye, world.line, world.series, world.source
network, town = world.network, world.town
flow_of, apart_pu = world.flow_of, world.apart_pu

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
TOWN = network(5)


# ---- elements ------------------------------------------------------------------------------------


def test_an_added_line_is_the_line_of_the_document():
    """A lateral removed and added again by hand, load included, gives the old voltages."""
    lateral = NETWORK.branches.index("1-2")
    block = NETWORK.branch_blocks.block(lateral)
    load = NETWORK.loads.index("2b")
    without = apply(NETWORK, RemoveElement("2b"), RemoveElement("1-2"))
    assert "2" not in without.buses
    row = len(without.buses)
    b = (2,)
    port = Port(
        "2b", row, (2, 0), complex(NETWORK.load_kva[load]), float(NETWORK.load_v[load]),
        limits=tuple(NETWORK.load_range[load]), edge=tuple(NETWORK.load_edge[load]),
    )  # fmt: skip
    again = apply(
        without,
        AddElement(Bus("2", V_MEDIUM / 3)),
        AddElement(Branch("1-2", "line", (End(without.buses.index("1"), b), End(row, b)), block, 300.0)),
        AddElement(port),
    )
    assert again.changes == ("bus 2 added", "line 1-2 added", "port 2b added")
    assert sorted(again.branches) == sorted(NETWORK.branches)
    assert apart_pu(flow_of(again), flow_of(NETWORK)) < 1e-9


def test_rebuilding_alone_changes_nothing():
    """A shunt added and removed: every array as before, dead parts and bases included."""
    net = apply(TOWN, OpenSwitch("f0s3"), Outage("f1cap"), Outage("f2", "source"))
    shunt = Shunt("x", "capacitor", End(0, (1,)), np.array([[1e-4j]]))
    there = apply(net, AddElement(shunt))
    again = apply(there, RemoveElement("x"))
    assert again.version == 3
    for name in ("node_bus", "v_base", "load_zip", "branch_closed", "branch_out", "shunt_out", "source_out"):
        assert np.array_equal(getattr(again, name), getattr(net, name)), name
    assert np.array_equal(again.branch_blocks.y, net.branch_blocks.y)
    assert np.array_equal(flow_of(again).v, flow_of(net).v)
    assert not np.array_equal(flow_of(apply(there, CloseSwitch("f0s3"))).v, flow_of(net).v)


def test_a_new_tie_and_a_new_transformer_serve():
    """A switch and a transformer with its load, added in one change together with a switching."""
    row = len(TOWN.buses)
    there = apply(
        TOWN,
        OpenSwitch("f0s3"),
        AddElement(Bus("new", V_LOW)),
        AddElement(delta_wye("t", TOWN.buses.index("f1b1"), row)),
        AddElement(Port("newp", row, (1, 0), -5.0 + 0j, V_LOW)),
        AddElement(line("link", TOWN.buses.index("f0b3"), TOWN.buses.index("f2b1"), kind="switch")),
    )
    assert there.topology.live.all()
    flow = flow_of(there)
    assert flow.converged
    assert flow.served_kva[there.loads.index("newp")].real == pytest.approx(-5.0)
    found = membership(there)
    assert there.sources[found.source[there.buses.index("f0b4")]] == "f2"
    assert there.branches[found.transformer[there.buses.index("new")]] == "t"


def test_an_added_regulator_controls_and_can_be_held():
    """A regulator put into the trunk in place of a line: its tap moves voltages, its lock holds."""
    row = {bus: k for k, bus in enumerate(TOWN.buses)}
    branch = Branch(
        "reg", "regulator", (End(row["f0b3"], ABC), End(row["f0b4"], ABC)), series(np.eye(3) * (0.1 + 0.9j))
    )
    control = Regulator(
        "reg", "reg", 1, (row["f0b4"], 1, 0), 3, 122.0, 2.0, 60.0, 100.0, 0.0, 0.0, 30.0, 4, V_MEDIUM
    )
    there = apply(TOWN, RemoveElement("f0l4"), AddElement(branch), AddElement(control))
    state = follow(TOWN, there, initial(TOWN))
    assert state.taps.tolist() == [4]
    node = there.node_row("f0b4", "a")
    held = apply(there, LockTap("reg", -4))
    low, high = flow_of(held), flow_of(there)
    assert high.v_pu[node] - low.v_pu[node] == pytest.approx(8 * 0.00625, rel=0.05)
    assert follow(there, held, state).taps.tolist() == [-4]
    gone = apply(held, RemoveElement("reg"), AddElement(line("f0l4", row["f0b3"], row["f0b4"])))
    assert gone.changes[:2] == ("branch reg removed", "regulator reg removed with it")
    assert not gone.regulators.ids


# ---- what is refused ------------------------------------------------------------------------------


def refused(net, *changes):
    """The faults of a change that must be refused; the version must serve on as before."""
    before = flow_of(net).v
    with pytest.raises(ChangeRejected) as error:
        apply(net, *changes)
    assert np.array_equal(flow_of(net).v, before)
    return error.value.rejected


def test_every_unknown_name_is_told_with_what_is_near():
    """All faults at once, each with its place in what was asked and a name that exists."""
    faults = refused(
        NETWORK, OpenSwitch("sw-13-153"), OpenSwitch("sw-97-197"), Outage("nothing"), LockTap("reg1", 17)
    )
    assert [(f.ids, f.field, f.row) for f in faults] == [
        (("sw-13-153",), "id", 1), (("nothing",), "id", 3), (("reg1",), "tap", 4),
    ]  # fmt: skip
    assert "sw-13-152" in faults[0].reason
    assert "-16..16" in faults[2].reason


def test_an_ambiguous_name_asks_which():
    """A source and a shunt of one name: the component decides."""
    parts = town(1)
    parts.shunts[0] = Shunt("f0", "capacitor", parts.shunts[0].end, parts.shunts[0].y)
    net = assemble(parts)
    (fault,) = refused(net, Outage("f0"))
    assert "say which" in fault.reason
    assert apply(net, Outage("f0", "shunt")).shunt_out[0]
    (fault,) = refused(net, Outage("f0", "load"))
    assert fault.field == "component"


@pytest.mark.parametrize("hours", [1, 4, -4])
def test_another_phase_is_not_closed_onto(hours):
    """A feeder turned by 30 or 120 degrees is refused at the tie, in whatever order it is brought there."""
    parts = town(1)
    parts.sources[1] = source("f1", parts.sources[1].end.bus, np.exp(-1j * np.pi / 6 * hours))
    net = assemble(parts)
    degrees = "30 degrees" if hours == 1 else "120 degrees"
    for changes in (
        [CloseSwitch("tie0")],
        [CloseSwitch("tie0"), CloseSwitch("tie1")],
        [Outage("f0s3"), CloseSwitch("tie0"), Restore("f0s3")],
    ):
        faults = refused(net, *changes)
        assert any(degrees in fault.reason for fault in faults), faults
    dead = apply(net, OpenSwitch("f0s3"), CloseSwitch("tie0"))
    (fault,) = refused(dead, CloseSwitch("f0s3"))
    assert fault.ids == ("f0s3",)
    assert apply(apply(net, Outage("f1", "source")), CloseSwitch("tie0")).topology.bus_live.all()
    back = apply(apply(net, Outage("f1", "source")), CloseSwitch("tie0"))
    (fault,) = refused(back, Restore("f1", "source"))
    assert fault.component == "source"


def test_another_level_is_not_closed_onto():
    """A switch between 7.2 kV and 240 V is refused, dead or live."""
    row = {bus: k for k, bus in enumerate(TOWN.buses)}
    tie = AddElement(line("bad", row["f0b1"], row["f1lv"], kind="switch", closed=False))
    net = apply(TOWN, tie)
    (fault,) = refused(net, CloseSwitch("bad"))
    assert fault.ids == ("bad",)
    (fault,) = refused(apply(net, OpenSwitch("f1t")), CloseSwitch("bad"))
    assert "nominal 7200 V, the other 240 V" in fault.reason


def test_another_vector_group_is_not_put_in_parallel():
    """A second Dyn1 transformer beside the first is fine; one turned by 30 degrees is refused."""
    row = {bus: k for k, bus in enumerate(TOWN.buses)}
    same = delta_wye("second", row["f0b4"], row["f0lv"])
    assert flow_of(apply(TOWN, AddElement(same))).converged
    ratio = V_MEDIUM / V_LOW
    y = np.linalg.inv(np.eye(3) * (1.0 + 4.0j))
    block = np.block([[y, -y * ratio], [-y * ratio, y * ratio**2]])
    turned = Branch("second", "transformer", (End(row["f0b4"], ABC), End(row["f0lv"], ABC)), block)
    (fault,) = refused(TOWN, AddElement(turned))
    assert "30 degrees" in fault.reason


def floating():
    """A delta-delta transformer whose low side is grounded by a reactor alone."""
    parts = Parts("floating", buses=[Bus("s", V_MEDIUM), Bus("d", V_LOW), Bus("e", V_LOW)])
    parts.sources.append(source("grid", 0))
    delta = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    ratio = V_MEDIUM / V_LOW
    y = delta.T @ delta / (2.0 + 9.0j)
    block = np.block([[y, -y * ratio], [-y * ratio, y * ratio**2]])
    parts.branches.append(Branch("t", "transformer", (End(0, ABC), End(1, ABC)), block))
    parts.branches.append(Branch("l", "line", (End(1, ABC), End(2, ABC)), series(np.eye(3) * 0.1)))
    parts.shunts.append(Shunt("earth", "reactor", End(1, ABC), np.eye(3) / 5j))
    return assemble(parts)


def test_a_change_that_leaves_a_part_floating_is_refused():
    """Without its grounding reactor the delta side floats: refused by node, and the version serves on."""
    net = floating()
    (fault,) = refused(net, Outage("earth"))
    assert "singular" in fault.reason
    assert any(node in fault.reason for node in ("d.a", "d.b", "d.c", "e.a", "e.b", "e.c"))
    refused(net, RemoveElement("earth"))
    both = apply(net, Outage("earth"), OpenSwitch("t"))
    assert not both.topology.bus_live[1:].any()


BAD_ELEMENTS = {
    "twice": ([AddElement(line("f0l1", 0, 1))], "already"),
    "no such bus": ([AddElement(line("x", 0, 999))], "unknown bus"),
    "no such conductor": ([AddElement(Port("x", 0, (4, 0), -1.0 + 0j, V_MEDIUM))], "no branch or source"),
    "port without bus": ([AddElement(Port("x", 999, (1, 0), -1.0 + 0j, V_MEDIUM))], "no bus row"),
    "bus without voltage": ([AddElement(Bus("x", float("nan")))], "nominal voltage"),
    "bus without line": ([AddElement(Bus("x", V_MEDIUM))], "in the same change"),
    "shape": ([AddElement(Shunt("x", "reactor", End(0, (1, 2)), np.eye(3)))], "for 2 conductors"),
    "zero impedance": ([AddElement(line("x", 0, 1, km=np.nan))], "not finite"),
    "no such branch": (
        [AddElement(Regulator("r", "x", 1, (0, 1, 0), 3, 120.0, 2.0, 60.0, 1.0, 0.0, 0.0, 1.0, 0, V_MEDIUM))],
        "unknown branch",
    ),
    "no part": ([AddElement("a line")], "not a part"),
    "gone": ([RemoveElement("f0l1"), RemoveElement("f0l1")], "removed already"),
    "last at a head": ([RemoveElement("f0l1"), RemoveElement("f0", "source")], "head of section"),
    "unknown": ([RemoveElement("x")], "no branch or port or shunt or source"),
}


@pytest.mark.parametrize("case", BAD_ELEMENTS)
def test_a_bad_element_is_refused_by_name(case):
    """What contradicts itself or the network is refused with its rule; nothing else is done either."""
    changes, rule = BAD_ELEMENTS[case]
    faults = refused(TOWN, OpenSwitch("f1s3"), *changes)
    assert any(rule in fault.reason for fault in faults), faults


def test_what_is_no_change_is_a_mistake_of_the_caller():
    """A text is not silently ignored."""
    with pytest.raises(TypeError, match="not a change"):
        apply(NETWORK, "open everything")
