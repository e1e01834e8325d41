"""Devices that speak IEEE 2030.5 over real TLS in a running system: heard, ordered, answered, resumed."""

import numpy as np
import pytest

from gridflock.model import OutcomeStatus
from gridflock.runtime import Settings, rehearse
from gridflock.runtime._way import BLOCKED, FAILED
from gridflock.sim import Scenario

SPOKEN = 10
SCENARIO = Scenario(ders=60, spoken=SPOKEN, offline_day_share=0.0, offline_hours_share=0.0, opt_out_share=0.0)
NOON_S = 12 * 3_600


def _lived(folder, ticks, settings=None):
    derms, world = rehearse(folder, SCENARIO, settings or Settings(), join_s=NOON_S)
    try:
        moments = []
        for _ in range(ticks):
            moments.append(derms.tick())
            derms.clock.sleep_until(moments[-1].now_s + 60)
        alarms = [str(entry.head["text"]) for entry in derms._record.entries(0, {"alarm"})]
    finally:
        derms.close()
    return moments, world, alarms


@pytest.fixture(scope="module")
def noon(tmp_path_factory):
    """Half an hour of a system of which some devices speak for themselves."""
    return _lived(tmp_path_factory.mktemp("speaking"), 30)


def test_speaking_devices_are_heard_like_the_others(noon):
    """Every one of them is in the image within two minutes, with its power, and stays there."""
    moments, world, _ = noon
    image = moments[-1].image
    rows = [image.ids.index(name) for name in world.spoken]
    assert len(rows) == SPOKEN
    assert (image.heard_s[rows] > image.now_s - 300).all()
    assert np.isfinite(np.asarray(image.p_kw)[rows]).all()
    assert not moments[-1].rejected or all("unknown" not in each.reason for each in moments[-1].rejected)


def test_orders_reach_them_and_answers_come_back(noon):
    """What the plan orders of them is accepted over the wire; nothing blocks and nothing fails."""
    moments, world, alarms = noon
    image = moments[-1].image
    rows = {image.ids.index(name) for name in world.spoken}
    ordered = {
        int(row)
        for moment in moments
        if moment.decision
        for row in moment.decision.orders.index
        if row in rows
    }
    answered = {
        int(row)
        for moment in moments
        for row, status in zip(moment.outcomes.index, moment.outcomes.status, strict=True)
        if row in rows and status == OutcomeStatus.ACCEPTED
    }
    assert ordered
    assert answered & ordered
    assert not any(BLOCKED in text or FAILED in text for text in alarms)


@pytest.mark.slow
def test_the_same_day_gives_the_same_orders(noon, tmp_path):
    """Sockets and threads in between change nothing: another life of the same scenario orders the same."""
    moments, _, _ = noon
    again, _, _ = _lived(tmp_path / "again", 12)
    for one, other in zip(moments, again, strict=False):
        assert one.decision.orders.index.tolist() == other.decision.orders.index.tolist()
        np.testing.assert_array_equal(one.decision.orders.p_kw, other.decision.orders.p_kw)
        np.testing.assert_array_equal(one.outcomes.order_id, other.outcomes.order_id)


def test_a_system_that_stopped_goes_on_with_its_devices(tmp_path):
    """Ten ticks, an end, ten more: devices are registered still, heard again, and no order id comes twice."""
    first, _, _ = _lived(tmp_path / "life", 10)
    then, world, _ = _lived(tmp_path / "life", 10)
    image = then[-1].image
    rows = [image.ids.index(name) for name in world.spoken]
    assert (image.heard_s[rows] > image.now_s - 300).all()
    ids = [int(k) for moment in (*first, *then) for k in moment.decision.orders.order_id]
    assert len(ids) == len(set(ids))
