"""The story of "why?": every resource, every group and every step of a lived evening has an answer."""

from __future__ import annotations

import numpy as np
import pytest

from gridflock.plan import explain, unpacked
from gridflock.runtime import LOCAL, Settings, rehearse
from gridflock.sim import Scenario
from gridflock.units import iso

SCENARIO = Scenario(ders=120, seed=7)
JOIN_S = 17 * 3_600
TICKS = 31
"""Of a minute: three plans."""


@pytest.fixture(scope="module")
def evening(tmp_path_factory):
    """A small system that has lived half an hour, with its moments."""
    derms, _ = rehearse(tmp_path_factory.mktemp("why"), SCENARIO, Settings(), join_s=JOIN_S)
    moments = []
    for _ in range(TICKS):
        moments.append(derms.tick())
        derms.clock.sleep_until(moments[-1].now_s + 60)
    return derms, moments


def _grounds(derms):
    """Of every plan in the ledger."""
    entries = [entry for entry in derms._record.entries(0, {"plan"}) if "why_edges_s" in entry.columns]
    return [unpacked(dict(entry.head), dict(entry.columns)) for entry in entries]


def test_every_group_and_step_of_every_plan_has_its_reasons(evening):
    """Also far ahead and for groups that cannot move: prices add up, the set-point stands at its price."""
    derms, _ = evening
    told = _grounds(derms)
    assert len(told) >= 2
    grounds = told[-1]
    f = grounds.flexibility
    for row, group in enumerate(f.groups):
        for step in range(row % 7, f.grid.n, 7):
            found = explain(grounds, group, step)
            assert found.price == pytest.approx(sum(part.price for part in found.parts), abs=1e-9)
            assert np.isfinite([found.p_kw, found.base_kw, found.alone_kw, found.price]).all()
            # Recorded in 32 bits: a few parts in a million of the price.
            slightly = 1e-4 * max(1.0, abs(found.price))
            assert found.holds[0] - slightly <= found.price <= found.holds[1] + slightly
            assert found.more.why or found.more.costs >= 0
            assert found.less.why or found.less.costs >= 0
            assert found.text.startswith(f.groups[row])


def test_every_resource_can_ask_at_any_moment_lived(evening):
    """Each resource that is planned, now and at moments of the half-hour, gets sentences with its group's."""
    derms, moments = evening
    rows_of = derms._loop.system.rows_of
    groups = [g for g in _grounds(derms)[-1].flexibility.groups if g in rows_of]
    planned = np.unique(np.concatenate([rows_of[g] for g in groups]))
    ids = [derms._loop.system.fleet.ids[row] for row in planned]
    for moment in moments[:: TICKS // 2]:
        for name in ids[::2]:
            view = derms.explain(LOCAL, name, iso(moment.now_s))
            assert view.groups
            assert view.groups[0].text in view.text or view.text
