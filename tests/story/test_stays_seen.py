"""The story of a day of vehicles: the system keeps the stays that there were, over a restart as well."""

import numpy as np

from gridflock.runtime import Settings, rehearse, replay
from gridflock.schema import Family
from gridflock.sim import Scenario
from gridflock.units import HOUR_S

SCENARIO = Scenario(ders=120, seed=5, offline_day_share=0.0, offline_hours_share=0.0)
SETTINGS = Settings(tick_s=300, plans=False, managed=False, learn_days=0)
FROM_H, PAUSE_H, UNTIL_H = 6, 13, 19


def test_the_stays_of_a_day_are_those_that_there_were(tmp_path):
    """Every stay within thirteen hours is kept, to two ticks, with what it needed; all is replayed alike."""
    for until_h in (PAUSE_H, UNTIL_H):
        derms, world = rehearse(tmp_path, SCENARIO, SETTINGS, join_s=FROM_H * HOUR_S)
        while derms.clock.now_s() < world.start_s + until_h * HOUR_S:
            derms.clock.sleep_until(derms.tick().now_s + SETTINGS.tick_s)
        fleet, stays = derms._loop.system.fleet, derms._loop.past.stays
        derms.close()
    population = world._population
    rows, sessions = population.rows[Family.VEHICLE], population.vehicles.sessions
    begin = world.start_s + FROM_H * HOUR_S + SETTINGS.tick_s
    end = world.start_s + UNTIL_H * HOUR_S - 2 * SETTINGS.tick_s
    vehicle, turn = np.nonzero((sessions.arrive_s >= begin) & (sessions.depart_s <= end))
    assert len(vehicle) >= 5
    names = np.array([fleet.ids[row] for row in stays.rows])[stays.who]
    ids = np.array(world.ids[: population.fleet.n])[rows]
    for v, k in zip(vehicle.tolist(), turn.tolist(), strict=True):
        apart = np.abs(stays.plugged_s - sessions.arrive_s[v, k])
        mine = np.flatnonzero((names == ids[v]) & (apart <= 2 * SETTINGS.tick_s))
        assert len(mine) == 1, (ids[v], sessions.arrive_s[v, k])
        assert abs(stays.left_s[mine[0]] - sessions.depart_s[v, k]) <= 2 * SETTINGS.tick_s
        lacked = sessions.target_kwh[v, k] - sessions.arrive_kwh[v, k]
        assert 0.3 * lacked <= stays.energy_kwh[mine[0]] <= 1.1 * lacked
    found = replay(tmp_path)
    assert found.identical, found.differs
