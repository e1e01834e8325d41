"""From the state's arrays to the façade's values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container
from typing import Any

import numpy as np

from gridflock.dispatch import Decision, Response
from gridflock.fleet import Groups, group_status
from gridflock.fleet.claims import Held
from gridflock.fleet.doctor import Examination
from gridflock.grid import Flow, Violations
from gridflock.model import BoundSource, Entry, Forecast, Proposal
from gridflock.runtime._loop import Moment
from gridflock.runtime._outlook import shares_of
from gridflock.runtime._subjects import OUTSIDE
from gridflock.runtime._system import System
from gridflock.runtime._views import (
    BranchView,
    BusView,
    ClaimView,
    DefinitionView,
    EventView,
    ExaminationView,
    Fan,
    FeederGlance,
    FeederView,
    FindingView,
    GroupView,
    LimitsView,
    MoveView,
    PlanLine,
    ProposalView,
    ResourceView,
    SectionView,
    StateView,
    TimelineView,
    ViolationView,
    number,
    numbers,
)
from gridflock.runtime._virtual import Definition
from gridflock.schema import Family, Kind
from gridflock.units import Rows, iso, phase_letters

ONLINE_S = 300
"""A resource that has not been heard for so long is not online."""
_MOVES = 200


def plain(value: object) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Dataclasses as JSON objects; a trailing underscore frees a name that Python keeps.

    What is no finite number is absent: JSON has neither NaN nor infinity.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name.rstrip("_"): plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def feeder(system: System) -> FeederView:
    """The map."""
    network, fleet = system.network, system.fleet
    bus_of = [fleet.labels["bus"][code] for code in fleet.columns["bus"][system.places.der_rows]]
    ders: dict[str, int] = {}
    for bus in bus_of:
        ders[bus] = ders.get(bus, 0) + 1
    buses = [
        BusView(
            bus,
            float(network.bus_xy[row, 0]),
            float(network.bus_xy[row, 1]),
            phase_letters(int(network.bus_phases[row])),
            network.sections[network.bus_section[row]],
            ders.get(bus, 0),
        )
        for row, bus in enumerate(network.buses)
    ]
    branches = [
        BranchView(
            name,
            network.buses[network.branch_from[row]],
            network.buses[network.branch_to[row]],
            str(network.branch_kind[row]),
            phase_letters(int(network.branch_phases[row])),
            number(float(network.rating_a[row]), 1),
        )
        for row, name in enumerate(network.branches)
    ]
    titles = zip(network.sections, network.section_titles, strict=True)
    return FeederView(network.name, network.timezone, buses, branches, [SectionView(s, t) for s, t in titles])


def voltages(system: System, flow: Flow) -> dict[str, list[float | None]]:
    """Per bus the three phases' voltage in pu; None where a phase is not there."""
    network = system.network
    table = np.full((len(network.buses), 3), np.nan)
    table[network.node_bus, network.node_phase] = flow.v_pu
    return {bus: numbers(table[row]) for row, bus in enumerate(network.buses)}


def state(system: System, moment: Moment) -> StateView:
    """The electrical state."""
    network = system.network
    loading = numbers(moment.flow.loading, 3)
    return StateView(
        now=iso(moment.now_s),
        v_pu=voltages(system, moment.flow),
        loading=dict(zip(network.branches, loading, strict=True)),
        taps={name: int(tap) for name, tap in zip(network.regulators.ids, moment.state.taps, strict=True)},
        violations=broken(moment.violations),
    )


def broken(found: Violations) -> list[ViolationView]:
    """Violations row by row."""
    return [
        ViolationView(
            kind.name.lower(),
            element,
            phase,
            round(float(value), 4),
            round(float(limit), 4),
        )
        for kind, element, phase, value, limit in zip(
            found.kinds(), found.element, found.letters(), found.value, found.limit, strict=True
        )
    ]


def groups(system: System, moment: Moment) -> list[GroupView]:
    """Every group with status and capability."""
    tree, able = system.groups, moment.able
    status = group_status(tree, moment.image, able)
    can = status.capability
    return [
        GroupView(
            id=name,
            title=tree.title(name),
            parents=list(tree.parents(name)),
            members=int(status.members[g]),
            online=int(status.online[g]),
            p_kw=number(status.p_kw[g], 2),
            q_kvar=number(status.q_kvar[g], 2),
            p_lo_kw=number(can.p_lo_kw[g], 2),
            p_hi_kw=number(can.p_hi_kw[g], 2),
            lo_source=BoundSource(int(can.lo_source[g])).name.lower(),
            hi_source=BoundSource(int(can.hi_source[g])).name.lower(),
            e_kwh=number(status.e_kwh[g], 1),
            e_max_kwh=number(status.e_max_kwh[g], 1),
        )
        for g, name in enumerate(tree.ids)
    ]


def resources(system: System, moment: Moment, rows: Rows, response: Response) -> list[ResourceView]:
    """Some resources."""
    fleet, image, able = system.fleet, moment.image, moment.able
    columns = fleet.columns
    return [
        ResourceView(
            id=fleet.ids[row],
            kind=Kind(int(columns["kind"][row])).name.lower(),
            bus=fleet.labels["bus"][columns["bus"][row]],
            phases=phase_letters(int(columns["phases"][row])),
            provider=fleet.labels["provider"][columns["provider"][row]],
            p_kw=number(image.p_kw[row], 3),
            p_lo_kw=number(able.p_lo_kw[row], 3),
            p_hi_kw=number(able.p_hi_kw[row], 3),
            lo_source=BoundSource(int(able.lo_source[row])).name.lower(),
            hi_source=BoundSource(int(able.hi_source[row])).name.lower(),
            e_kwh=number(image.e_kwh[row], 3),
            ready=bool(image.ready[row]),
            ordered_kw=number(response.ordered_kw[row], 3),
        )
        for row in rows
    ]


def alone(system: System, moment: Moment, row: int) -> GroupView:
    """A resource as a group of one: a group is a resource, so a resource is a group (CONVENTIONS §13)."""
    image, can, name = moment.image, moment.able, system.fleet.ids[row]
    return GroupView(
        id=name,
        title=f"{Kind(int(image.kind[row])).name.lower().replace('_', ' ')} {name}",
        parents=list(system.groups.of(name)),
        members=1,
        online=int(not image.silent(ONLINE_S)[row]),
        p_kw=number(image.p_kw[row], 3),
        q_kvar=number(image.q_kvar[row], 3),
        p_lo_kw=number(can.p_lo_kw[row], 3),
        p_hi_kw=number(can.p_hi_kw[row], 3),
        lo_source=BoundSource(int(can.lo_source[row])).name.lower(),
        hi_source=BoundSource(int(can.hi_source[row])).name.lower(),
        e_kwh=number(image.e_kwh[row], 2),
        e_max_kwh=number(float(image.columns["e_max_kwh"][row]), 2),
    )


def outlook(system: System, moment: Moment, rows: Rows) -> Fan | None:
    """What some resources would do unasked over the horizon.

    Plan groups are forecast; a part of one takes its share by size, and quantiles are added, as if
    all erred together: the band of a mixed group is therefore an outer one.
    """
    seen = moment.forecast
    if seen is None:
        return None
    total = np.tensordot(shares_of(system, seen.series, rows), seen.value_kw, axes=1)
    return _fan(seen, total)


def fan(seen: Forecast | None, series: str) -> Fan | None:
    """A series' quantiles over the horizon."""
    if seen is None or series not in seen.series:
        return None
    return _fan(seen, seen.value_kw[seen.series.index(series)])


def _fan(seen: Forecast, value: np.ndarray) -> Fan:
    """Three of the quantiles (Q, T)."""
    at = [int(np.argmin(np.abs(seen.quantiles - q))) for q in (0.1, 0.5, 0.9)]
    times = [iso(int(t)) for t in seen.grid.starts_s]
    return Fan(times, numbers(value[at[0]], 2), numbers(value[at[1]], 2), numbers(value[at[2]], 2))


def timeline(moment: Moment, trail: list[tuple[int, float]]) -> TimelineView:
    """Actual, forecast and plan of the feeder's net injection."""
    plan, fan_kw = None, None
    if moment.schedule is not None:
        schedule = moment.schedule
        times = [iso(int(t)) for t in schedule.grid.starts_s]
        plan = PlanLine(times, numbers(schedule.net_kw, 1))
        outside = fan(moment.forecast, OUTSIDE)
        if outside is not None:
            # Unasked: what the resources would do by themselves on top of what takes no orders.
            base = schedule.base_kw.sum(axis=0)
            fan_kw = Fan(
                times,
                *(
                    [number((v or 0.0) + b, 1) for v, b in zip(q, base, strict=True)]
                    for q in _quantiles(outside)
                ),
            )
    limit = next((e for e in moment.envelopes if e.group == "all"), None)
    limits = LimitsView(
        number(-limit.p_lo_kw, 1) if limit else None, number(limit.p_hi_kw, 1) if limit else None
    )
    every = max(1, len(trail) // 1_500)
    shown = trail[::every]
    return TimelineView([iso(t) for t, _ in shown], [number(p, 1) for _, p in shown], fan_kw, plan, limits)


def _quantiles(fan_kw: Fan) -> tuple[list[float | None], list[float | None], list[float | None]]:
    return fan_kw.q10, fan_kw.q50, fan_kw.q90


def proposal(wish: Proposal) -> ProposalView:
    """A wish."""
    return ProposalView(
        id=wish.id,
        group=wish.group,
        priority=wish.priority.name.lower(),
        author=wish.author,
        why=wish.why,
        start=iso(wish.start_s),
        until=iso(wish.until_s),
        p_kw=wish.p_kw,
        p_lo_kw=number(wish.p_lo_kw),
        p_hi_kw=number(wish.p_hi_kw),
    )


def wish_text(wish: Proposal) -> str:
    """A wish in words."""
    parts = []
    if wish.p_kw is not None:
        parts.append(f"{wish.p_kw:g} kW")
    if math.isfinite(wish.p_lo_kw):
        parts.append(f"at least {wish.p_lo_kw:g} kW")
    if math.isfinite(wish.p_hi_kw):
        parts.append(f"at most {wish.p_hi_kw:g} kW")
    return f"{wish.group}: {', '.join(parts)} until {iso(wish.until_s)} ({wish.why})"


def event(entry: Entry) -> EventView:
    """A ledger entry as something that happened."""
    head = dict(entry.head)
    return EventView(
        seq=entry.seq,
        time=iso(entry.time_s),
        kind=entry.kind,
        text=str(head.pop("text", entry.kind)),
        author=str(head.pop("author", "gridflock")),
        group=str(head.pop("group", head.get("on", ""))),
        data=head,
    )


def by_family(system: System, moment: Moment, decision: Decision, wish: Proposal) -> dict[str, float]:
    """Change of injection the wish's group would make, by family, kW."""
    rows = system.rows_of[wish.group]
    rows = rows[np.isfinite(decision.targets.p_kw[rows])]
    change = decision.targets.p_kw[rows] - np.nan_to_num(moment.image.p_kw[rows])
    families = moment.image.family[rows]
    found = {Family(int(f)).name.lower(): float(change[families == f].sum()) for f in np.unique(families)}
    return {family: round(kw, 2) for family, kw in found.items() if abs(kw) >= 0.005}


def moves(system: System, moment: Moment, decision: Decision, wish: Proposal) -> list[MoveView]:
    """Who would give what, largest changes first."""
    rows = system.rows_of[wish.group]
    rows = rows[np.isfinite(decision.targets.p_kw[rows])]
    before, after = np.nan_to_num(moment.image.p_kw[rows]), decision.targets.p_kw[rows]
    order = np.argsort(-np.abs(after - before), kind="stable")[:_MOVES]
    kind = system.fleet.columns["kind"]
    return [
        MoveView(
            system.fleet.ids[rows[k]],
            Kind(int(kind[rows[k]])).name.lower(),
            number(before[k], 3),
            number(after[k], 3),
        )
        for k in order
    ]


def glance(flow: Flow, found: Violations) -> FeederGlance:
    """The feeder in four numbers."""
    return FeederGlance(
        number(float(flow.head_kva.real.sum()), 1),
        number(float(np.nanmin(flow.v_pu))),
        number(float(np.nanmax(flow.v_pu))),
        len(found.kind),
    )


def definition(found: Definition) -> DefinitionView:
    """How a group of people was defined."""
    assert found.version is not None
    since_s, *numbers = found.version
    return DefinitionView(
        id=found.id,
        title=found.title or found.id,
        version=".".join(map(str, numbers)),
        since=iso(since_s),
        members=list(found.members),
        children=list(found.children),
        parents=list(found.parents),
        rule=found.terms.where,
        place=None if found.terms.place is None else dict(found.terms.place),
        inside=list(found.terms.inside),
        outside=list(found.terms.outside),
    )


def claim(life: Held) -> ClaimView:
    """A claim."""
    found = life.claim
    return ClaimView(
        id=found.id,
        owner=found.owner,
        kind=str(found.kind),
        group=found.on,
        start=iso(found.start_s),
        until=iso(found.until_s),
        up_kw=found.up_kw,
        down_kw=found.down_kw,
        e_kwh=found.e_kwh,
        priority=found.priority.name.lower(),
        service=found.sold,
        why=found.why,
        made=iso(life.made_s),
    )


def examination(seen: Examination) -> ExaminationView:
    """What the doctor found, each finding with the first of its resources."""
    findings = [
        FindingView(
            rule=finding.rule,
            severity=finding.severity.name.lower(),
            attribute=finding.field,
            count=len(finding.rows),
            resources=list(finding.ids),
            reason=finding.reason,
            remedy=finding.remedy,
        )
        for finding in seen.findings
    ]
    skipped = dict(seen.skipped)
    return ExaminationView(seen.rows, findings, skipped, seen.phases_judged, seen.transformers_judged)


def lineage(tree: Groups, resources: Container[str], group: str) -> frozenset[str]:
    """A group and all its ancestors; of a resource, every group that holds it."""
    found: set[str] = set()
    ahead = [group]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            if name in tree:
                ahead.extend(tree.parents(name))
            elif name in resources:
                ahead.extend(tree.of(name))
    return frozenset(found)
