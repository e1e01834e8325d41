"""Emerging constraints on IEEE 123: counts are those of single flows, and what is said to prevent does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import csr_array

import gridflock
from gridflock.forecast.limits import Placed, emerging
from gridflock.grid import LimitKind, initial, settle, solve, violations
from gridflock.grid._wiring import MAGNETIC
from gridflock.grid.build import from_document
from gridflock.grid.limits import Limits, Resources
from gridflock.units import TimeGrid

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
LIMITS = Limits(v_low_pu=0.985, v_high_pu=1.04, loading=0.55)
KINDS = (LimitKind.VOLTAGE_LOW, LimitKind.VOLTAGE_HIGH, LimitKind.THERMAL)
GRID = TimeGrid.uniform(1_750_003_200, 3600, 3)


@pytest.fixture(scope="module")
def world():
    """The feeder at its settled taps, all loads as one series and sun at three buses as another."""
    network = from_document(DOCUMENT)
    still = np.zeros(network.n, dtype=complex)
    state = settle(network, network.load_kva, still, initial(network))[1]
    kw = -network.load_kva.real.sum()
    ports = csr_array(np.stack([-network.load_kva / kw, 0 * network.load_kva], axis=1))
    nodes = np.flatnonzero((network.node_phase < 3) & network.topology.live)[[60, 150, 200]].astype(np.int32)
    sun = csr_array(np.array([[0.0, 1 / 3], [0.0, 1 / 3], [0.0, 1 / 3]], dtype=complex))
    rng = np.random.default_rng(2)
    load = -kw * rng.uniform(0.7, 1.25, (24, 1)) * np.array([0.8, 1.0, 1.1])
    paths = np.stack([load, rng.uniform(0.0, 900.0, (24, 1)) * np.array([1.0, 0.5, 0.0])], axis=1)
    return network, state, Placed(("load", "sun"), ports, nodes, sun), paths


def key_of(network, kind, row):
    """Node, or branch with phase and winding: however many conductors it has of it."""
    if kind != LimitKind.THERMAL:
        return kind, network.node_name(row)
    blocks = network.branch_blocks
    owner, phase = blocks.owner[row], int(network.node_phase[blocks.node[row]])
    winding = int(blocks.end[row]) if network.branch_kind[owner] in MAGNETIC else 0
    return kind, network.branches[owner], phase, winding


def one_by_one(network, state, placed, paths):
    """Which (kind, row) break in which (path, step), each flow by itself."""
    broken = {}
    for k, path in enumerate(paths):
        for t in range(GRID.n):
            loads, inject = placed.powers(path[None, :, t])
            at = np.zeros(network.n, dtype=complex)
            at[placed.nodes] = inject[0]
            flow = solve(network, loads[0], at, state)
            assert flow.converged
            found = violations(network, flow, LIMITS)
            for kind, row in zip(found.kind.tolist(), found.row.tolist(), strict=True):
                if kind in KINDS:
                    broken.setdefault(key_of(network, kind, row), set()).add((k, t))
    return broken


def test_chances_are_those_of_single_flows(world):
    """Every limit's chance and its share in each step are what flows solved one by one give."""
    found = emerging(*world[:3], world[3], GRID, LIMITS, least=0.0)
    expected = one_by_one(*world)
    pairs = zip(found.kind.tolist(), found.row.tolist(), strict=True)
    keys = [key_of(world[0], kind, row) for kind, row in pairs]
    assert len(keys) == len(set(keys))
    assert found.unsolved == 0.0
    assert {LimitKind.VOLTAGE_LOW, LimitKind.THERMAL} <= set(found.kind.tolist())
    edge = 1.5 / len(world[3])
    assert all(len({k for k, _ in expected[key]}) / 24 < edge for key in set(expected) - set(keys))
    for e, key in enumerate(keys):
        cells = expected.get(key, set())
        # Lanes answer to 1e-5 pu: a path that lies on the limit may fall to either side.
        assert abs(found.chance[e] - len({k for k, _ in cells}) / 24) < edge
        share = [len({k for k, t in cells if t == step}) / 24 for step in range(GRID.n)]
        np.testing.assert_allclose(found.by_step[e], share, atol=edge)
        assert found.from_s[e] in GRID.starts_s
    assert (np.diff(found.chance) <= 0).all()


def test_what_is_said_to_prevent_does(world):
    """With the helpers' moves nine paths in ten stay inside, to what derivatives are off by."""
    network, state, placed, paths = world
    nodes = np.flatnonzero((network.node_phase < 3) & network.topology.live)[40:220:12]
    weight = sparse.csr_matrix(
        (np.ones(len(nodes)), (nodes, np.arange(len(nodes)))), shape=(network.n, len(nodes))
    )
    room = np.full(len(nodes), 300.0)
    resources = Resources(
        tuple(f"battery {k}" for k in range(len(nodes))), weight, np.full(len(nodes), -1),
        *(np.zeros(len(nodes)) for _ in range(2)), room, room, *(np.zeros(len(nodes)) for _ in range(2)),
    )  # fmt: skip
    found = emerging(network, state, placed, paths, GRID, LIMITS, resources=resources)
    e = int(np.flatnonzero(np.isfinite(found.need_kw) & (found.need_kw > 0))[0])
    assert found.need_kw[e] == pytest.approx(sum(abs(h.move_kw) for h in found.helpers[e]))
    where = {name: k for k, name in enumerate(resources.ids)}
    helped = np.zeros((len(placed.nodes) + len(nodes), 3), dtype=complex)
    helped[: len(placed.nodes), :2] = placed.injections.toarray()
    for helper in found.helpers[e]:
        helped[len(placed.nodes) + where[helper.resource], 2] = helper.move_kw
    ports = sparse.hstack([placed.ports, csr_array((placed.ports.shape[0], 1))]).tocsr()
    both = Placed(
        ("load", "sun", "help"),
        csr_array(ports),
        np.append(placed.nodes, nodes).astype(np.int32),
        csr_array(helped),
    )
    constant = np.ones((len(paths), 1, GRID.n))
    after = emerging(network, state, both, np.concatenate([paths, constant], axis=1), GRID, LIMITS, least=0.0)
    same = np.flatnonzero((after.kind == found.kind[e]) & (after.row == found.row[e]))
    left = float(after.excess[same[0]]) if len(same) else 0.0
    assert left <= 0.15 * found.excess[e]


def test_paths_that_do_not_fit_are_refused(world):
    """Paths of other series or steps: refused in words."""
    with pytest.raises(ValueError, match="paths of shape"):
        emerging(*world[:3], world[3][:, :1], GRID, LIMITS)


def test_controls_may_move_from_step_to_step(world):
    """With other taps in one step that step is as with these taps throughout, the others as without."""
    network, state, placed, paths = world
    moved = replace(state, taps=state.taps - 2)
    every = {"least": -1.0}
    mixed, still, other = (
        emerging(network, controls, placed, paths, GRID, LIMITS, **every)
        for controls in ([state, moved, state], state, moved)
    )

    def chances(found, step):
        keys = [(int(k), int(r)) for k, r in zip(found.kind, found.row, strict=True)]
        return {key: share for key, share in zip(keys, found.by_step[:, step], strict=True) if share > 0}

    assert [chances(mixed, t) for t in (0, 1, 2)] == [chances(still, 0), chances(other, 1), chances(still, 2)]
    assert chances(other, 1) != chances(still, 1)
    with pytest.raises(ValueError, match="controls of 2 steps for 3"):
        emerging(network, [state, state], placed, paths, GRID, LIMITS)
