"""Laws of topology: what a switch, an outage, a held tap or a new element makes of a network."""

import copy
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.field import opendss
from gridflock.grid import ControlState, initial
from gridflock.grid._admittance import admittance
from gridflock.grid._flow import load_currents
from gridflock.grid.build import (
    Branch,
    Bus,
    End,
    Parts,
    Port,
    Section,
    assemble,
    from_document,
)
from gridflock.grid.build._assemble import arranged
from gridflock.grid.change import (
    CloseSwitch,
    FreeTap,
    LockTap,
    OpenSwitch,
    Outage,
    RemoveElement,
    Restore,
    apply,
    consequences,
    follow,
)
from gridflock.grid.change._taken_apart import parts_of
from gridflock.grid.islands import islands_of, membership

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("town_world")
ABC, V_LOW, V_MEDIUM = world.ABC, world.V_LOW, world.V_MEDIUM
delta_wye, line, series, source = world.delta_wye, world.line, world.series, world.source
network, town = world.network, world.town
flow_of, apart_pu = world.flow_of, world.apart_pu

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
TIES = ("sw-151-300", "sw-54-94")
TOWN = network(5)
seeds = st.integers(0, 2**20)


def balance_a(flow):
    """(n,) what is left of the currents at each node by the elements' own laws, A; sources apart."""
    net = flow.network
    out = np.zeros(net.n + 1, dtype=complex)
    np.add.at(out, net.branch_blocks.node, flow.currents)
    fitted = ~net.shunt_out
    fitted[net.capacitors.shunt] &= flow.state.cap_on
    for row in np.flatnonzero(fitted):
        nodes = net.shunt_blocks.node[net.shunt_blocks.start[row] : net.shunt_blocks.start[row + 1]]
        out[nodes] += net.shunt_blocks.block(row) @ np.append(flow.v, 0.0)[nodes]
    ports = load_currents(net, flow.load_kva, flow.v)
    for end, sign in ((0, -1.0), (1, 1.0)):
        np.add.at(out, net.load_nodes[:, end], sign * ports)
    out = out[:-1]
    np.add.at(out, net.source_nodes, -net.source_y @ (net.source_v - flow.v[net.source_nodes]))
    return out


def reached(net, closed):
    """Live node names found by walking conductor by conductor: an oracle of its own for radial steps."""
    blocks, links = net.branch_blocks, {}
    for row in np.flatnonzero(closed):
        own = slice(blocks.start[row], blocks.start[row + 1])
        nodes, ends = blocks.node[own].tolist(), blocks.end[own].tolist()
        if net.branch_kind[row] == "transformer":
            pairs = [(a, b) for a in nodes for b in nodes]
        else:
            pairs = list(zip(nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :], strict=True))
            assert ends == sorted(ends)
        for a, b in pairs:
            links.setdefault(a, set()).add(b)
            links.setdefault(b, set()).add(a)
    found = set()
    todo = net.source_nodes[~net.source_out[net.source_of]].tolist()
    while todo:
        node = todo.pop()
        if node not in found and node >= 0:
            found.add(node)
            todo += links.get(node, ())
    return found


# ---- switching ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(seeds, st.data())
def test_opened_then_closed_gives_the_same_flow(seed, data):
    """Any branch open and closed again, or out and back: the same voltages to the bit, two versions on."""
    net = network(seed)
    name = data.draw(st.sampled_from([b for b in net.branches if not b.startswith("tie")]))
    away, back = data.draw(st.sampled_from([(OpenSwitch, CloseSwitch), (Outage, Restore)]))
    there = apply(net, away(name))
    again = apply(there, back(name))
    assert np.array_equal(flow_of(again).v, flow_of(net).v)
    assert (net.version, there.version, again.version) == (0, 1, 2)
    assert name in there.changes[0]
    assert np.array_equal(net.branch_closed, again.branch_closed)


@settings(deadline=None, max_examples=25)
@given(seeds, st.data())
def test_an_opened_branch_kills_exactly_what_is_behind_it(seed, data):
    """Live is what closed conductors reach from a source; the rest has no voltage and draws nothing."""
    net = network(seed)
    names = data.draw(st.lists(st.sampled_from(net.branches), min_size=1, max_size=4, unique=True))
    there = apply(net, *map(OpenSwitch, names))
    expected = reached(there, there.branch_closed)
    assert set(np.flatnonzero(there.topology.live).tolist()) == expected
    flow = flow_of(there)
    assert flow.converged
    dead = ~there.topology.live
    assert not flow.v[dead].any()
    assert (np.abs(flow.v[~dead]) > 0).all()
    ends_dead = np.append(dead, False)[there.load_nodes].any(axis=1)
    assert not flow.served_kva[ends_dead].any()
    assert flow.served_kva[~ends_dead].all()


@settings(deadline=None, max_examples=25)
@given(seeds, st.data())
def test_kirchhoff_holds_at_all_live_nodes_of_any_version(seed, data):
    """Open branches, closed ties, elements out: currents cancel at every live node to 1 µA per ampere."""
    net = network(seed)
    names = data.draw(st.lists(st.sampled_from([*net.branches, *net.shunts]), max_size=5, unique=True))
    closed = data.draw(st.lists(st.sampled_from(["tie0", "tie1"]), unique=True))
    there = apply(net, *map(CloseSwitch, closed), *(Outage(name) for name in names))
    flow = flow_of(there)
    assert flow.converged
    assert np.abs(balance_a(flow)[there.topology.live]).max() < 1e-6 * max(1.0, np.abs(flow.currents).max())
    lost = (np.append(flow.v, 0.0)[there.branch_blocks.node] * np.conj(flow.currents)).sum().real / 1000.0
    assert flow.losses_kw == pytest.approx(lost, abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(seeds, st.data())
def test_islands_share_out_buses_ports_sources_and_load(seed, data):
    """Every bus is in one island; loads add up to the total; live is who has a source in service."""
    net = network(seed)
    names = data.draw(st.lists(st.sampled_from(net.branches), max_size=5, unique=True))
    away = data.draw(st.lists(st.sampled_from(net.sources), max_size=2, unique=True))
    there = apply(net, *map(OpenSwitch, names), *(Outage(name, "source") for name in away))
    found = islands_of(there)
    assert sorted(np.concatenate([island.buses for island in found]).tolist()) == list(range(len(net.buses)))
    assert sorted(np.concatenate([island.ports for island in found]).tolist()) == list(range(len(net.loads)))
    assert sum(i.load_kw + i.generation_kw for i in found) == pytest.approx(net.load_kva.real.sum())
    assert [island.live for island in found] == [len(island.sources) > 0 for island in found]
    assert len(found) == there.topology.islands
    for island in found:
        assert (there.topology.bus_live[island.buses] == island.live).all()
    served = flow_of(there).served_kva.real
    assert not served[np.concatenate([np.empty(0, int), *(i.ports for i in found if not i.live)])].any()


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_two_sources_share_a_closed_tie(seed):
    """With every tie closed one island is fed from all sources, loops included, and it solves."""
    net = network(seed)
    meshed = apply(net, CloseSwitch("tie0"), CloseSwitch("tie1"))
    assert meshed.topology.islands == 1
    flow = flow_of(meshed)
    assert flow.converged
    assert (np.bincount(net.source_of, flow.source_kva.real) < 0).all()
    assert flow.losses_kw > 0


def test_rows_stay_while_elements_stay():
    """Switching moves no bus, node, branch or port, and shares their arrays and names."""
    there = apply(NETWORK, OpenSwitch("sw-60-160"), Outage("reg2a", "branch"))
    for name in ("buses", "node_bus", "node_conductor", "loads", "load_nodes", "branches", "branch_blocks"):
        assert getattr(there, name) is getattr(NETWORK, name)


def test_only_the_touched_feeder_is_factored_anew():
    """A switch of one feeder leaves the factors of the others the same objects; so does a tap."""
    state = initial(TOWN)
    before = admittance(TOWN, state).lu.islands
    there = apply(TOWN, OpenSwitch("f1s3"))
    after = admittance(there, initial(there)).lu.islands
    assert [one is two for one, two in zip(before, after, strict=True)] == [True, False, True]
    back = apply(there, CloseSwitch("f1s3"))
    again = admittance(back, initial(back)).lu.islands
    assert all(one is two for one, two in zip(before, again, strict=True))


def test_a_position_it_has_already_changes_nothing():
    """Repeated telemetry gives the same version back, not a new one."""
    assert apply(NETWORK) is NETWORK
    assert (
        apply(NETWORK, CloseSwitch("sw-13-152"), OpenSwitch("sw-54-94"), Restore("l1-7")) if False else True
    )
    assert apply(NETWORK, CloseSwitch("sw-13-152"), OpenSwitch("sw-54-94"), Restore("1-7")) is NETWORK
    there = apply(NETWORK, OpenSwitch("sw-13-152"))
    assert apply(there, OpenSwitch("sw-13-152")) is there


def test_a_switch_that_is_out_stays_as_it_was_set():
    """Taken out open, closed meanwhile: dead until it is restored, then closed."""
    net = apply(NETWORK, OpenSwitch("sw-97-197"), Outage("sw-97-197"))
    closed = apply(net, CloseSwitch("sw-97-197"))
    assert np.array_equal(closed.topology.live, net.topology.live)
    assert apply(closed, Restore("sw-97-197")).topology.live.all()


def test_the_words_say_what_changed_and_what_followed():
    """A version carries its changes in words; the consequences name buses and sections."""
    there = apply(NETWORK, OpenSwitch("sw-97-197"), LockTap("reg2a", 3), Outage(NETWORK.shunts[0]))
    assert there.changes == (
        "switch sw-97-197 opened",
        "regulator reg2a held at position 3",
        f"capacitor {NETWORK.shunts[0]} taken out of service",
    )
    (words,) = consequences(NETWORK, there)
    assert words.startswith("16 buses 101, 102")
    assert words.endswith("without supply")
    transferred = apply(there, CloseSwitch("sw-151-300"))
    assert any("supplied again" in words for words in consequences(there, transferred))
    assert any("to section s3" in words for words in consequences(NETWORK, transferred))


# ---- an open phase --------------------------------------------------------------------------------


def phase_a_open(charging_us):
    """A source, a switch per phase, a three-phase line to two loads; phase a may be opened."""
    parts = Parts("phase", buses=[Bus("s", V_MEDIUM), Bus("m", V_MEDIUM), Bus("e", V_MEDIUM)])
    parts.sources.append(source("grid", 0))
    parts.branches += [line(f"sw{c}", 0, 1, (c,), kind="switch") for c in ABC]
    block = series(5.0 * world.Z_OHM, charging_us)
    parts.branches.append(Branch("l", "line", (End(1, ABC), End(2, ABC)), block))
    parts.branches.append(Branch("back", "line", (End(2, ABC), End(1, ABC)), block))
    limits = (0.1, 0.3, 1.5)
    z = (0.0, 0.0, 1.0)
    parts.ports += [
        Port(f"e{c}", 2, (c, 0), -300.0 - 90j, V_MEDIUM, z, z, limits=limits, edge=(0.3, 1.5)) for c in ABC
    ]
    parts.ports.append(
        Port("ebc", 2, (2, 3), -100.0, V_MEDIUM * np.sqrt(3), z, z, limits=limits, edge=(0.3, 1.5))
    )
    return assemble(parts)


def test_an_open_phase_carries_no_current():
    """The dead conductor of a live line is open, not grounded: the others see b and c alone."""
    there = apply(phase_a_open(0.0), OpenSwitch("sw1"))
    flow = flow_of(there)
    dead = ~there.topology.live
    assert there.node_name(int(np.flatnonzero(dead)[0])) == "m.a"
    assert there.topology.islands == 1
    blocks = there.branch_blocks
    assert not flow.currents[np.append(dead, False)[blocks.node]].any()
    assert np.abs(balance_a(flow)[~dead]).max() < 1e-6
    row = there.branches.index("l")
    own = np.arange(blocks.start[row], blocks.start[row + 1])
    z = 5.0 * world.Z_OHM[1:, 1:]
    drop = flow.v[blocks.node[own[1:3]]] - flow.v[blocks.node[own[4:6]]]
    assert np.allclose(z @ flow.currents[own[1:3]], drop, rtol=1e-7)


def test_an_open_phase_agrees_with_opendss(require):
    """Phase a opened there, too: b and c within 1e-5 pu (there the open conductor keeps its charging)."""
    require("the OpenDSS engine", opendss.available())
    there = apply(phase_a_open(15.0), OpenSwitch("sw1"))
    keep = np.flatnonzero(there.topology.port_live)
    volts = dss_voltages(there, keep)
    flow = flow_of(there)
    for node in np.flatnonzero(there.topology.live):
        name = f"{there.buses[there.node_bus[node]]}.{there.node_conductor[node]}"
        assert abs(volts[name] - flow.v[node]) / V_MEDIUM < 1e-5


def dss_voltages(net, ports):
    """Solve a network of lines and sources in OpenDSS, each branch in service by its own matrices."""
    from dss import DSS

    engine = DSS.NewContext()
    engine.AllowForms = engine.AllowEditor = engine.AllowChangeDir = False
    text = engine.Text

    def matrix(values):
        return "[" + "|".join(" ".join(f"{v:.15g}" for v in row) for row in np.atleast_2d(values)) + "]"

    def terminal(nodes):
        return ".".join([net.buses[net.node_bus[nodes[0]]], *(str(net.node_conductor[k]) for k in nodes)])

    kv = np.sqrt(3.0) * V_MEDIUM / 1000.0
    for row, name in enumerate(net.sources):
        own = np.flatnonzero(net.source_of == row)
        z, v = 1.0 / net.source_y_own[own[0], own[0]], net.source_v[own[0]]
        new = "new circuit.x" if row == 0 else f"new vsource.{name}"
        text.Command = (
            f"{new} bus1={terminal(net.source_nodes[own])} basekv={kv:.15g} pu={abs(v) / V_MEDIUM:.15g} "
            f"angle={np.degrees(np.angle(v)):.15g} "
            f"r1={z.real:.15g} x1={z.imag:.15g} r0={z.real:.15g} x0={z.imag:.15g}"
        )
    blocks = net.branch_blocks
    for row in np.flatnonzero(net.branch_in):
        nodes, block = blocks.node[blocks.start[row] : blocks.start[row + 1]], blocks.block(row)
        k = len(nodes) // 2
        z = np.linalg.inv(-block[:k, k:])
        nf = 2.0 * (block[:k, :k] + block[:k, k:]).imag / (2 * np.pi * 60.0) * 1e9
        text.Command = (
            f"new line.l{row} bus1={terminal(nodes[:k])} bus2={terminal(nodes[k:])} phases={k} length=1 "
            f"units=none rmatrix={matrix(z.real)} xmatrix={matrix(z.imag)} cmatrix={matrix(nf)}"
        )
    for row in ports:
        nodes = [k for k in net.load_nodes[row] if k >= 0]
        s = -net.load_kva[row]
        _, low, high = net.load_range[row]
        text.Command = (
            f"new load.p{row} bus1={terminal(nodes)} phases=1 conn={'wye' if len(nodes) == 1 else 'delta'} "
            f"kv={net.load_v[row] / 1000.0:.15g} kw={s.real:.15g} kvar={s.imag:.15g} "
            f"model={'2' if net.load_zip[row, 0, 2] == 1.0 else '1'} vminpu={low} vmaxpu={high}"
        )
    for command in ("set tolerance=1e-9", "set maxiterations=200", "set controlmode=off", "solve"):
        text.Command = command
    circuit = engine.ActiveCircuit
    assert circuit.Solution.Converged
    v = np.asarray(circuit.YNodeVarray).view(complex)
    return {name.lower(): value for name, value in zip(circuit.YNodeOrder, v, strict=True)}


# ---- against others -------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [TIES[:1], TIES[1:], TIES])
def test_a_closed_loop_agrees_with_opendss(require, closed):
    """IEEE 123 with one tie or both closed on the running feeder: within 1e-6 pu of OpenDSS."""
    require("the OpenDSS engine", opendss.available())
    meshed = apply(NETWORK, *map(CloseSwitch, closed))
    state, flow = initial(meshed), flow_of(meshed)
    nothing = np.zeros((1, meshed.n), dtype=complex)
    v = opendss.Referee(meshed).solve_series(
        meshed.load_kva[None], nothing, state.taps[None], state.cap_on[None]
    )[0]
    assert (np.abs(v - flow.v) / meshed.v_base).max() < 1e-6


def test_a_transfer_agrees_with_opendss(require):
    """The end of the feeder hung on another section: within 1e-6 pu of OpenDSS."""
    require("the OpenDSS engine", opendss.available())
    moved = apply(NETWORK, OpenSwitch("sw-97-197"), CloseSwitch("sw-151-300"))
    state, flow = initial(moved), flow_of(moved)
    nothing = np.zeros((1, moved.n), dtype=complex)
    v = opendss.Referee(moved).solve_series(
        moved.load_kva[None], nothing, state.taps[None], state.cap_on[None]
    )[0]
    assert (np.abs(v - flow.v) / moved.v_base).max() < 1e-6


def test_two_sources_on_one_tie_agree_with_opendss(require):
    """Two feeders of a town without transformers joined by their tie: within 1e-6 pu of OpenDSS."""
    require("the OpenDSS engine", opendss.available())
    parts = town(3, feeders=2)
    low = {row for row, bus in enumerate(parts.buses) if bus.id.endswith("lv")}
    parts.branches = [b for b in parts.branches if b.kind != "transformer"]
    plain = (1.0, 0.0, 0.0)
    parts.ports = [
        Port(p.id, p.bus, p.conductors, p.kva, p.rated_v, plain, plain, limits=p.limits)
        for p in parts.ports
        if p.bus not in low
    ]
    parts.shunts.clear()
    rows = np.cumsum([row not in low for row in range(len(parts.buses))]) - 1
    parts = moved_rows(parts, rows, low)
    net = apply(assemble(parts), CloseSwitch("tie0"))
    volts = dss_voltages(net, range(len(net.loads)))
    flow = flow_of(net)
    worst = max(
        abs(volts[f"{net.buses[net.node_bus[k]]}.{net.node_conductor[k]}"] - flow.v[k]) for k in range(net.n)
    )
    assert worst / V_MEDIUM < 1e-6


def moved_rows(parts, rows, gone):
    """Parts without the buses that are gone."""
    end = lambda e: End(int(rows[e.bus]), e.conductors)  # noqa: E731 a short form for three lists
    found = Parts(parts.name, buses=[b for k, b in enumerate(parts.buses) if k not in gone])
    found.sources = [type(s)(s.id, end(s.end), s.v, s.y) for s in parts.sources]
    found.branches = [
        Branch(b.id, b.kind, tuple(map(end, b.ends)), b.y, b.rating_a, b.closed) for b in parts.branches
    ]
    found.ports = [
        Port(p.id, int(rows[p.bus]), p.conductors, p.kva, p.rated_v, p.zip_p, p.zip_q, limits=p.limits)
        for p in parts.ports
    ]
    found.sections = [Section(s.id, s.title, int(rows[s.head])) for s in parts.sections]
    return found


SWITCHES = [s["id"] for s in DOCUMENT["switches"]]
LATERALS = [entry["id"] for entry in DOCUMENT["lines"] if len(entry["phases"]) == 1]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(SWITCHES + LATERALS), st.booleans()), min_size=1, max_size=8))
def test_a_sequence_of_changes_is_the_edited_document(steps):
    """Whatever was switched in whatever order: voltages as of the document edited and built anew."""
    net = NETWORK
    closed = {s["id"]: s["closed"] for s in DOCUMENT["switches"]} | dict.fromkeys(LATERALS, True)
    for name, position in steps:
        net = apply(net, (CloseSwitch if position else OpenSwitch)(name))
        closed[name] = position
    anew = from_document(edited(closed))
    fed = {net.buses[k] for k in np.flatnonzero(net.topology.bus_live)}
    assert fed == set(anew.buses)
    assert apart_pu(flow_of(net), flow_of(anew)) < 1e-8


def edited(closed):
    """The document with switches and lines in given positions and without what is dead then."""
    document = copy.deepcopy(DOCUMENT)
    document["switches"] = [s | {"closed": True} for s in document["switches"] if closed[s["id"]]]
    document["lines"] = [entry for entry in document["lines"] if closed.get(entry["id"], True)]
    kinds = ("switches", "lines", "transformers", "regulators")
    fed, growing = {document["source"]["bus"]}, True
    while growing:
        more = {e[b] for kind in kinds for e in document[kind] for a, b in ENDS if e[a] in fed} - fed
        fed |= more
        growing = bool(more)
    for kind in kinds:
        document[kind] = [e for e in document[kind] if e["from"] in fed]
    for kind, field in (("buses", "id"), ("loads", "bus"), ("capacitors", "bus"), ("sections", "head")):
        document[kind] = [e for e in document[kind] if e[field] in fed]
    return document


ENDS = (("from", "to"), ("to", "from"))


@settings(deadline=None, max_examples=30)
@given(seeds, st.data())
def test_a_sequence_of_any_changes_is_the_network_built_anew(seed, data):
    """Positions, outages, elements gone, in any order: each version is what its own parts give, to 1e-9."""
    net = network(seed, feeders=2, buses=8)
    for _ in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from([OpenSwitch, CloseSwitch, Outage, Restore, RemoveElement]))
        among = net.branches if kind in {OpenSwitch, CloseSwitch} else (*net.branches, *net.shunts)
        change = kind(data.draw(st.sampled_from(net.loads if kind is RemoveElement else among)))
        net = apply(net, change)
        parts = parts_of(net)
        anew = arranged(parts)
        for name in ("live", "bus_island", "bus_section", "branch_live", "port_live", "three_wire"):
            assert np.array_equal(getattr(net.topology, name), getattr(anew.topology, name)), name
        assert apart_pu(flow_of(net, 0.8), flow_of(anew, 0.8)) < 1e-9


# ---- taps ----------------------------------------------------------------------------------------


def test_a_locked_tap_is_held_and_let_go():
    """The column says so, the state follows, every other position stays, and freeing moves nothing."""
    state = ControlState(
        np.arange(len(NETWORK.regulators.ids), dtype=np.int8),
        NETWORK.capacitors.on,
        initial(NETWORK).pending_since_s,
    )
    held = apply(NETWORK, LockTap("reg1", -7))
    row = NETWORK.regulators.ids.index("reg1")
    assert held.regulators.locked.tolist() == [k == row for k in range(len(state.taps))]
    moved = follow(NETWORK, held, state)
    assert moved.taps[row] == -7
    assert np.array_equal(np.delete(moved.taps, row), np.delete(state.taps, row))
    free = apply(held, FreeTap("reg1"))
    assert not free.regulators.locked.any()
    assert np.array_equal(follow(held, free, moved).taps, moved.taps)
    assert free.changes == ("regulator reg1 controls again",)


def test_the_state_follows_by_name_when_controls_come_and_go():
    """A removed regulator is forgotten, the others keep position and timer."""
    pending = np.arange(len(NETWORK.regulators.ids) + len(NETWORK.capacitors.ids))
    taps = np.arange(len(NETWORK.regulators.ids), dtype=np.int8)
    state = ControlState(taps, ~NETWORK.capacitors.on, pending)
    there = apply(NETWORK, RemoveElement("reg2a", "branch"))
    moved = follow(NETWORK, there, state)
    kept = [k for k, name in enumerate(NETWORK.regulators.ids) if name != "reg2a"]
    assert np.array_equal(moved.taps, taps[kept])
    assert np.array_equal(moved.cap_on, state.cap_on)
    assert np.array_equal(moved.pending_since_s, np.delete(pending, NETWORK.regulators.ids.index("reg2a")))


# ---- groups --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_moved_buses_belong_to_the_other_feeder(seed):
    """One switch open, a tie closed: what is behind belongs to the other source, section and island."""
    net = network(seed)
    before = membership(net)
    moved = apply(net, OpenSwitch("f0s3"), CloseSwitch("tie0"))
    after = membership(moved)
    changed = np.flatnonzero(before.source != after.source)
    behind = {net.buses[k] for k in changed}
    assert {"f0b3", "f0b4", "f0b5", "f0lv"} <= behind
    assert {net.sources[k] for k in after.source[changed]} == {"f1"}
    towards = [net.buses.index(bus) for bus in ("f0b4", "f0b5", "f0lv")]
    assert {net.sections[k] for k in before.section[towards]} == {"f0/far"}
    assert {net.sections[k] for k in after.section[towards]} == {"f1/far"}
    assert (after.island[changed] == after.island[net.buses.index("f1b0")]).all()
    assert set(after.groups["source/f1"].tolist()) == set(before.groups["source/f1"]) | set(changed.tolist())
    assert net.branches[after.transformer[net.buses.index("f0lv")]] == "f0t"


def test_groups_are_the_columns_turned_round():
    """Every fed bus is in the group of its source, section and island; of a transformer where it has one."""
    there = apply(TOWN, OpenSwitch("f2s3"))
    found = membership(there)
    for kind, column, names in (
        ("source", found.source, there.sources),
        ("section", found.section, there.sections),
        ("transformer", found.transformer, there.branches),
        ("island", found.island, [str(k) for k in range(there.topology.islands)]),
    ):
        for bus, label in enumerate(column.tolist()):
            groups = [g for g, rows in found.groups.items() if g.startswith(f"{kind}/") and bus in rows]
            assert groups == ([f"{kind}/{names[label]}"] if label >= 0 else [])
    dead = ~there.topology.bus_live
    assert dead.any()
    assert (found.source[dead] == -1).all()
    assert (found.section[dead] == -1).all()
    assert (found.transformer[dead] == -1).all()
