"""Devices that ask and report seldom: orders live until they are heard of, and nobody is silent too early."""

import importlib
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch import GuardLimits, GuardState, Response, Rules
from gridflock.dispatch.guard import Asked, guard
from gridflock.fleet import Fleet, Groups
from gridflock.model import Outcomes, OutcomeStatus, Priority, Proposal
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
TICK_S = 60
MANY = 3


class _Seldom:
    """Batteries that ask for orders, answer and report once every ``reach_s`` and do nothing between."""

    def __init__(self, reach_s, phase_s):
        self.reach_s, self.phase_s = reach_s, phase_s
        self.offered = {}
        self.p_kw, self.until_s = np.full(MANY, np.nan), np.zeros(MANY)

    def visits(self, now_s):
        """The answers of a visit, and whether there was one."""
        self.p_kw = np.where(self.until_s > now_s, self.p_kw, np.nan)
        if (now_s + self.phase_s) % self.reach_s >= TICK_S:
            return [], False
        answered = [
            (row, order, p_kw) for row, (order, p_kw, ends_s) in self.offered.items() if ends_s > now_s
        ]
        for row, (_, p_kw, ends_s) in self.offered.items():
            self.p_kw[row], self.until_s[row] = p_kw, ends_s
        self.offered = {}
        return answered, True

    def offer(self, orders):
        for row, order, p_kw, ends_s in zip(
            orders.index.tolist(), orders.order_id.tolist(), orders.p_kw, orders.expires_s, strict=True
        ):
            self.offered[row] = (order, float(p_kw), int(ends_s))


def _lived(reach_s, phase_s, ticks, reach_known=True):
    """What devices did in each tick of a lasting wish, the conversation in the end, and orders sent."""
    plate = world.PLATES[Kind.BATTERY_HOME] | {"e_max_kwh": 40.0}
    told_s = reach_s if reach_known else 0
    rows = [{"id": f"b{k}", "kind": "BATTERY_HOME", "bus": "b1", "phases": "a", "reach_s": told_s} | plate
            for k in range(MANY)]  # fmt: skip
    fleet, rejected = Fleet.from_rows(rows, world.BUSES)
    assert not rejected
    groups = Groups.standard(fleet, world.SECTIONS, {})
    response = Response.empty(MANY, reach_s=fleet.columns["reach_s"].astype(np.int64))
    wish = world.want("w", "all", 2.0 * MANY, until_s=NOW_S + 2 * 3_600)
    devices, did, sent = _Seldom(reach_s, phase_s), [], 0
    for k in range(ticks):
        now_s = NOW_S + k * TICK_S
        answers, visited = devices.visits(now_s)
        if visited or k == 0:
            doing = np.nan_to_num(devices.p_kw)
            values = {
                "p_kw": doing,
                "p_avail_kw": np.zeros(MANY),
                "e_kwh": np.full(MANY, 30.0),
                "ready": np.ones(MANY),
            }
            image = world.tell(fleet, values, now_s)
        else:
            image = fleet.image(now_s)
        if answers:
            row, order, p_kw = (np.array(column) for column in zip(*answers, strict=True))
            yes = np.full(len(row), OutcomeStatus.ACCEPTED, dtype=np.uint8)
            said = Outcomes(fleet.ids, row.astype(np.int32), order, yes, p_kw, np.full(len(row), now_s))
            response = response.heard(row, said, now_s)
        decision = world.decide(image, groups, (wish,), response=response)
        response = decision.response
        devices.offer(decision.orders)
        sent += len(decision.orders.index)
        did.append(devices.p_kw.copy())
    return np.array(did), response, sent


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([300, 600, 900]), st.integers(0, 14))
def test_a_wish_holds_without_a_gap_on_devices_that_ask_seldom(reach_s, phase):
    """From its first visit on, a device is under an order in every tick, and nobody counts as missing."""
    did, response, sent = _lived(reach_s, phase * TICK_S % reach_s, ticks=60)
    first = np.flatnonzero(np.isfinite(did[:, 0]))[0]
    assert first * TICK_S <= reach_s
    assert np.isfinite(did[first:]).all()
    np.testing.assert_allclose(did[-1].sum(), 2.0 * MANY, rtol=0.02)
    assert (response.misses == 0).all()
    # Renewed about once a visit and not every tick.
    assert sent <= MANY * (3 + 60 * TICK_S / 180)


def test_without_knowing_how_seldom_they_ask_they_would_drop_out():
    """The attribute is what makes it hold: taken for prompt, such devices miss answers and orders lapse."""
    did, response, _ = _lived(900, 300, ticks=60, reach_known=False)
    assert (response.misses > 0).any() or not np.isfinite(did[20:]).all()


def _guarded(reach_s, many):
    """The guard over batteries that ask for orders once every ``reach_s``: what an author's wish comes to."""
    plate = {"kind": "BATTERY_HOME", "bus": "b1", "phases": "a", "reach_s": reach_s}
    plate |= world.PLATES[Kind.BATTERY_HOME] | {"e_max_kwh": 40.0}
    fleet, rejected = Fleet.from_rows([{"id": f"b{k}"} | plate for k in range(many)], world.BUSES)
    assert not rejected
    rows = np.arange(many, dtype=np.int32)

    def ask(p_kw, now_s, state, limits, heard_s=None):
        if heard_s is not None:
            values = {"p_kw": np.zeros(many), "p_avail_kw": np.zeros(many), "ready": np.ones(many)}
            world.tell(fleet, values, heard_s)
        wish = Proposal("w", "all", Priority.OPERATOR, "omar", "", now_s, now_s + 7_200, p_kw=p_kw * many)
        ends = np.full(many, now_s + 300 + reach_s, dtype=np.int64)
        power, none, source = np.full(many, p_kw), np.full(many, np.nan), np.zeros(many, dtype=np.int16)
        asked = Asked(rows, power, none, ends, source, (wish,), 1 + now_s - NOW_S, "")
        return guard(asked, fleet.image(now_s), limits, Rules(), state, {"all": rows})

    return fleet, ask


def test_a_trial_waits_until_its_members_can_have_heard():
    """Two hundred devices that ask every quarter of an hour are tried out on ten, and then all ordered."""
    many, reach_s = 200, 900
    fleet, ask = _guarded(reach_s, many)
    limits = GuardLimits(step_kw=np.inf, canary_share=0.05)
    state, first, asked_for = GuardState.empty(many), {}, []
    for k in range(25):
        now_s = NOW_S + k * TICK_S
        passed = ask(2.0, now_s, state, limits, heard_s=now_s if k == 0 else None)
        asked_for.append(int(passed.keep.sum()))
        state = passed.state
        for place, row in enumerate(np.flatnonzero(passed.keep)):
            first.setdefault(int(row), (now_s, 1 + now_s - NOW_S + place))
        heard = [(row, order) for row, (at_s, order) in first.items() if now_s == at_s + reach_s]
        if heard:
            row, order = (np.array(column) for column in zip(*heard, strict=True))
            yes = np.full(len(row), OutcomeStatus.ACCEPTED, dtype=np.uint8)
            told = np.full(len(row), 2.0), np.full(len(row), now_s)
            state = state.heard(row, Outcomes(fleet.ids, row.astype(np.int32), order, yes, *told), now_s)
    assert asked_for[: reach_s // TICK_S + 1] == [10] * (reach_s // TICK_S + 1)
    assert asked_for[-1] == many


def test_a_reading_tells_of_an_order_only_once_it_can_have_been_heard():
    """Read after a minute, a device that asks every quarter of an hour may yet do what it was ordered."""
    for reach_s, start_kw in ((0, 0.0), (900, 2.0)):
        _, ask = _guarded(reach_s, 2)
        limits = GuardLimits(step_kw=np.inf)
        sent = ask(2.0, NOW_S, GuardState.empty(2), limits, heard_s=NOW_S)
        back = ask(0.0, NOW_S + 60, sent.state, limits, heard_s=NOW_S + 60)
        assert back.start_kw.tolist() == [start_kw] * 2
