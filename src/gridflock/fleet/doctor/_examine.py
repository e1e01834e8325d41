"""One examination of a fleet, from nameplates to voltages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from gridflock.fleet._columns import Fleet, Image
from gridflock.fleet.doctor._connections import check_connections, check_names, check_places
from gridflock.fleet.doctor._evidence import Facts, Thresholds, Trace
from gridflock.fleet.doctor._nameplates import check_nameplates
from gridflock.fleet.doctor._readings import check_levels, check_present, check_standstill
from gridflock.fleet.doctor._rules import Finding, Findings
from gridflock.fleet.doctor._voltages import Suspects, other_phase, other_transformer
from gridflock.schema import Enrolment
from gridflock.units import PHASES, Mask, Rows

_PHASE_OF_MASK = np.array([-1, 0, 1, -1, 2, -1, -1, -1], dtype=np.int32)
"""Phase of a mask of one phase; -1 of others."""


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What was found.

    Attributes:
        findings: the gravest first.
        skipped: by rule, why it could not be looked at.
        rows: how many resources count: all but the retired ones.
        phases_judged: of how many the phase could be told by voltages.
        transformers_judged: and the transformer.
    """

    findings: tuple[Finding, ...]
    skipped: Mapping[str, str]
    rows: int
    phases_judged: int
    transformers_judged: int


_NO_FACTS = Facts()
_USUAL = Thresholds()


def examine(
    fleet: Fleet,
    image: Image,
    trace: Trace | None = None,
    facts: Facts = _NO_FACTS,
    limits: Thresholds = _USUAL,
) -> Examination:
    """Look for data that cannot be right, or that contradict each other.

    Who is retired is not looked at. Nothing is changed.

    Args:
        fleet: n resources.
        image: their present, of this fleet.
        trace: their readings over time, as far as at hand.
        facts: what the network and the groups know.
        limits: from where on something is found.
    """
    service = fleet.columns["enrolment"] != Enrolment.RETIRED
    found = Findings(fleet.ids)
    check_nameplates(fleet, service, found)
    check_connections(fleet, service, facts, found)
    check_places(fleet, service, limits.far_km, found)
    check_names(fleet, service, found)
    check_present(fleet, image, service, limits, found)
    check_levels(fleet, image, service, trace, limits, found)
    check_standstill(fleet, service, trace, limits, found)
    judged = _check_voltages(fleet, service, trace, facts, limits, found)
    skipped = MappingProxyType(dict(found.skipped))
    return Examination(found.all(), skipped, int(np.count_nonzero(service)), *judged)


def _check_voltages(
    fleet: Fleet, service: Mask, trace: Trace | None, facts: Facts, limits: Thresholds, found: Findings
) -> tuple[int, int]:
    """Phases, then transformers of those whose phase is not in doubt; how many could be judged."""
    if trace is None or trace.v_pu is None:
        found.skip("no voltages over time are given", "wrong-phase", "wrong-transformer")
        return 0, 0
    rows = trace.rows
    phase = np.where(service[rows], _PHASE_OF_MASK[fleet.columns["phases"][rows]], -1)
    area = _areas(fleet, facts)[rows]
    width = max(3, round(limits.mean_s / trace.step_s))
    phases = other_phase(trace.v_pu, width, phase, area, limits)
    found.add_each("wrong-phase", _cases(rows, phases, phase, PHASES, "phases"))
    phase = phase.copy()
    phase[phases.at] = -1
    words = fleet.labels["transformer"]
    known = np.array([bool(word) for word in words], dtype=bool)
    own = fleet.columns["transformer"][rows]
    transformers = other_transformer(trace.v_pu, width, phase, area, np.where(known[own], own, -1), limits)
    found.add_each("wrong-transformer", _cases(rows, transformers, own, words, "transformer"))
    judged = int(np.count_nonzero(phases.judged)), int(np.count_nonzero(transformers.judged))
    for count, rule in zip(judged, ("wrong-phase", "wrong-transformer"), strict=True):
        if not count:
            found.skip("too few neighbours with voltages to compare with", rule)
    return judged


def _areas(fleet: Fleet, facts: Facts) -> Rows:
    """Area of each resource: as given, or its feeder; where no feeders are told apart all are of one."""
    if facts.area is not None:
        return facts.area
    feeder: Rows = fleet.columns["feeder"]
    words = fleet.labels["feeder"]
    return np.where(feeder == words.index(""), -1, feeder) if len(words) > 1 and "" in words else feeder


def _cases(
    rows: Rows, suspects: Suspects, own: Rows, words: Sequence[str], field: str
) -> list[tuple[list[int], str, str]]:
    """Row, field and reason of each suspect, by row."""
    cases = []
    for at, best, own_r, best_r, deviations in zip(
        suspects.at.tolist(),
        suspects.best.tolist(),
        suspects.own_r.tolist(),
        suspects.best_r.tolist(),
        suspects.deviations.tolist(),
        strict=True,
    ):
        reason = (
            f"its voltage goes with {words[best]} (correlation {best_r:.2f}), registered is "
            f"{words[own[at]]} ({own_r:.2f}): {deviations:.0f} standard deviations"
        )
        cases.append(([int(rows[at])], field, reason))
    return sorted(cases)
