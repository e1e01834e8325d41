"""A sample with every rule broken once: every planted error is found, and nothing else."""

import dataclasses
import importlib
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np

from gridflock.fleet import Fleet
from gridflock.fleet.doctor import RULES, Facts, Severity, Trace, examine
from gridflock.fleet.registry import read_registry
from gridflock.model import Readings
from gridflock.schema import QUANTITY

sys.path.insert(0, str(Path(__file__).parents[1] / "laws"))
drawn = importlib.import_module("voltage_world")

NOW_S = 1_760_000_000
BLANK = "!blank"
PER, TRANSFORMERS, FEEDERS = 10, 6, 2
KINDS = ("pv_rooftop", "battery_home", "ev_v1g", "water_heater", "genset")
PLATE = {
    "pv_rooftop": {"p_max_kw": 6, "s_max_kva": 7},
    "battery_home": {"p_max_kw": 5, "p_min_kw": -5, "s_max_kva": 6, "e_max_kwh": 60, "e_reserve_kwh": 2},
    "ev_v1g": {"p_min_kw": -7, "e_max_kwh": 60, "p_floor_kw": 1.4},
    "water_heater": {"p_min_kw": -4, "on_off": 1, "min_on_s": 120, "e_max_kwh": 6},
    "genset": {"p_max_kw": 50, "p_floor_kw": 15, "min_on_s": 900},
}
# Rule -> resources it is planted on; each resource has one error.
PLANTED = {
    "phase-missing": ["0-0-1"],
    "bus-missing": ["0-0-2"],
    "bus-unknown": ["0-0-3"],
    "phase-not-at-bus": ["0-0-4"],
    "transformer-missing": ["0-1-0"],
    "feeder-missing": ["0-1-1"],
    "place-far": ["0-1-2"],
    "place-shared": ["0-1-3", "0-2-3"],
    "no-group": ["0-1-4"],
    "rating-missing": ["0-2-0"],
    "no-power": ["0-2-8"],
    "power-above-rating": ["0-2-5"],
    "wrong-direction": ["0-3-0"],
    "energy-without-power": ["0-3-1"],
    "energy-missing": ["0-3-6"],
    "reserve-above-energy": ["0-4-1"],
    "floor-above-power": ["0-4-4"],
    "rest-without-switching": ["0-4-3"],
    "identity-form": ["0-5-0"],
    "identity-twice": ["0-5-1", "1-5-1"],
    "never-heard": ["1-0-0"],
    "dead": ["1-0-1"],
    "stuck": ["1-0-2"],
    "clock-wrong": ["1-1-0"],
    "outside-nameplate": ["1-1-5"],
    "sign-suspect": ["1-2-0"],
    "wrong-phase": ["1-2-1"],
    "wrong-transformer": ["1-3-1"],
}
RETIRED = "1-4-0"


def names():
    """Resources as feeder-transformer-number, with their true places."""
    at = [(f, t, k) for f in range(FEEDERS) for t in range(TRANSFORMERS) for k in range(PER)]
    return [f"{f}-{t}-{k}" for f, t, k in at], np.array(at)


def clean():
    """Rows of a fleet without an error, by id."""
    ids, at = names()
    rows = {}
    for name, (feeder, transformer, k) in zip(ids, at.tolist(), strict=True):
        kind = KINDS[k % len(KINDS)]
        rows[name] = {
            "id": name,
            "kind": kind,
            "bus": f"bus-{name}",
            "phases": "abc"[transformer % 3],
            "provider": ("acme", "zeta")[feeder],
            "feeder": f"f{feeder}",
            "transformer": f"t{feeder}-{transformer}",
            "lat_deg": 45 + 0.004 * transformer + 0.0002 * k,
            "lon_deg": 7 + 0.1 * feeder + 0.0001 * k,
            "lfdi": f"{feeder:020d}{transformer:010d}{k:010d}",
            "serial": f"SN-{name}",
            **PLATE[kind],
        }
    return rows


def dirty():
    """The same rows with the errors that stand in a registry file."""
    rows = clean()

    def plant(rule, **cells):
        for name in PLANTED[rule]:
            rows[name].update(cells)

    plant("bus-missing", bus=BLANK)
    plant("bus-unknown", bus="nowhere")
    plant("transformer-missing", transformer="")
    plant("feeder-missing", feeder="")
    plant("place-far", lat_deg=46.5)
    plant("place-shared", lat_deg=44.0, lon_deg=8.0)
    plant("rating-missing", s_max_kva=0)
    plant("no-power", p_min_kw=0, e_max_kwh=0)
    plant("power-above-rating", p_max_kw=9)
    plant("wrong-direction", p_min_kw=-3)
    plant("energy-without-power", p_min_kw=0, p_max_kw=0)
    plant("energy-missing", e_max_kwh=0, e_reserve_kwh=0)
    plant("reserve-above-energy", e_reserve_kwh=70)
    plant("floor-above-power", p_floor_kw=80)
    plant("rest-without-switching", on_off=0)
    plant("identity-form", lfdi="not-hexadecimal")
    plant("wrong-phase", phases="b")
    plant("wrong-transformer", transformer="t1-0")
    for name, serial in zip(PLANTED["identity-twice"], ("SN-77", "sn77"), strict=True):
        rows[name]["serial"] = serial
    rows[RETIRED].update(
        enrolment="retired", p_max_kw=0, s_max_kva=0, bus="nowhere", serial="SN-77", lat_deg=9
    )
    return rows


def registry_of(rows):
    """A registry of the rows, with the errors that no reader lets through."""
    registry, rejected = read_registry(rows.values(), None)
    assert rejected == ()
    phases = registry.columns["phases"].copy()
    if rows[PLANTED["bus-missing"][0]]["bus"] == BLANK:
        phases[registry.ids.index(PLANTED["phase-missing"][0])] = 0
    buses = tuple("" if word == BLANK else word for word in registry.labels["bus"])
    return dataclasses.replace(
        registry,
        columns=MappingProxyType({**registry.columns, "phases": phases}),
        labels=MappingProxyType({**registry.labels, "bus": buses}),
    )


def powers(rng, fleet, steps):
    """Power (steps, n) inside the nameplates, and energy of batteries that follows it."""
    columns, kind = fleet.columns, fleet.columns["kind"]
    share = rng.uniform(0.05, 0.95, (steps, len(fleet.ids)))
    p = columns["p_min_kw"] + share * (columns["p_max_kw"] - columns["p_min_kw"])
    p[:, kind == 0] = 0.9 * np.minimum(columns["p_max_kw"], 6.0)[kind == 0] * share[:, kind == 0]
    e = np.full(p.shape, np.nan)
    stores = (kind == 3) & (columns["e_max_kwh"] > 0)
    # A battery that swings about the middle of its content.
    p[:, stores] -= p[:, stores].mean(axis=0)
    e[:, stores] = 30.0 - np.cumsum(p[:, stores], axis=0) * 0.25
    e[:, stores] += 30.0 - e[:, stores].mean(axis=0)
    e = np.clip(e, 2.0, 58.0)
    return p, e


def told(fleet, name, values, time_s):
    """Readings of one quantity, absent ones left out."""
    index = np.flatnonzero(~np.isnan(values)).astype(np.int32)
    n = len(index)
    code = np.full(n, QUANTITY[name], np.uint8)
    times = np.broadcast_to(time_s, len(values))[index].astype(np.int64)
    return Readings(fleet.ids, index, code, values[index].astype(float), times, np.zeros(n, np.uint8))


def examined(rows, planted):
    """What the doctor says of rows, with the telemetry that their true places give."""
    rng = np.random.default_rng(4)
    fleet = Fleet(registry_of(rows))
    ids, at = names()
    true = at[[ids.index(name) for name in fleet.ids]]
    number = true[:, 0] * TRANSFORMERS + true[:, 1]
    v = drawn.voltages(rng, true[:, 0], number, true[:, 1] % 3)
    p, e = powers(rng, fleet, len(v))
    times = np.full(len(ids), NOW_S)
    grouped = np.ones(len(ids), dtype=bool)
    if planted:
        row = {rule: [fleet.row_of[name] for name in ids] for rule, ids in PLANTED.items()}
        for rule in ("never-heard", "dead"):
            p[:, row[rule]] = v[:, row[rule]] = e[:, row[rule]] = np.nan
        p[-1, row["dead"]] = -1.0
        times[row["dead"]] -= 3 * 86_400
        p[:, row["stuck"]] = -3.3
        p[-1, row["outside-nameplate"]] = 60.0
        p[:, row["sign-suspect"]] *= -1.0
        grouped[row["no-group"]] = False
        late = np.full(len(ids), np.nan)
        late[row["clock-wrong"]] = 1.0
        for k in range(15):
            fleet.ingest(told(fleet, "q_kvar", late, NOW_S + 86_400 + k), NOW_S)
    for name, values in (("p_kw", p[-1]), ("v_pu", v[-1]), ("e_kwh", e[-1])):
        fleet.ingest(told(fleet, name, values, times), NOW_S)
    buses = {f"bus-{name}": 7 for name in ids}
    if planted:
        buses[f"bus-{PLANTED['phase-not-at-bus'][0]}"] = 6
    trace = Trace(np.arange(len(ids), dtype=np.int32), 900, p, v, e)
    return examine(fleet, fleet.image(NOW_S), trace, Facts(bus_phases=buses, grouped=grouped)), fleet


def test_every_planted_error_is_found_and_nothing_else():
    """Each rule, planted once, names exactly whom it was planted on; who is retired is left alone."""
    assert PLANTED.keys() == RULES.keys()
    seen, fleet = examined(dirty(), planted=True)
    found = {}
    for finding in seen.findings:
        ids = [fleet.ids[row] for row in finding.rows]
        assert finding.ids == tuple(ids)
        assert finding.reason
        assert finding.remedy
        found.setdefault(finding.rule, []).extend(ids)
    assert {rule: sorted(ids) for rule, ids in found.items()} == PLANTED
    assert dict(seen.skipped) == {}
    assert seen.rows == len(fleet.ids) - 1
    assert [f.severity for f in seen.findings] == sorted((f.severity for f in seen.findings), reverse=True)
    assert seen.findings[0].severity == Severity.ERROR


def test_a_clean_sample_has_no_findings():
    """The same sample without the planted errors gives nothing."""
    seen, _ = examined(clean(), planted=False)
    assert seen.findings == ()


def test_reasons_name_both_sides():
    """A shared serial names both holders and who speaks for them; a wrong phase names both phases."""
    seen, _ = examined(dirty(), planted=True)
    reason = {finding.rule: finding.reason for finding in seen.findings}
    assert reason["identity-twice"] == "serial SN77 is claimed by 0-5-1 of acme, 1-5-1 of zeta"
    assert "goes with c" in reason["wrong-phase"]
    assert "registered is b" in reason["wrong-phase"]
    assert "goes with t1-3" in reason["wrong-transformer"]


def test_what_cannot_be_looked_at_is_told():
    """Without telemetry, network and groups the rules that need them are named with the reason."""
    fleet = Fleet(registry_of(clean()))
    seen = examine(fleet, fleet.image(NOW_S))
    assert seen.findings == ()
    assert seen.skipped.keys() == {
        "bus-unknown", "phase-not-at-bus", "no-group", "never-heard", "dead", "clock-wrong",
        "sign-suspect", "wrong-phase", "wrong-transformer",
    }  # fmt: skip
