"""What happens to the feeder while feedback is watched: each disturbance, told a plant and a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridflock.bench._feedback_plant import Plant

CLOUD, CLOUD_S = 0.3, 60
"""Part of the panels that vanish, and in which time."""
JUMP, LIMIT_DROP = 1.2, 0.9
HEAD_ROOM, OF_CLOUD = 0.04, 0.25
"""What the head may import more, as a part of what it does; and at most of what the cloud takes."""
RAMP_A_MINUTE = 0.2
"""How much more sun, of what there is, comes in a minute."""
WARNED_S = 10
"""The head's import limit stands so long before."""


@dataclass(frozen=True, slots=True)
class Day:
    """One kind of disturbance.

    Attributes:
        disturb: told the plant and the second, 0 when it comes.
        exporting: whether it happens to the feeder that exports.
        told: a limit moves, and is known at once; what changes on the feeder is seen as late as it is read.
        named: whether a run without a violation in the same day without feedback is no evidence at all.
    """

    disturb: Callable[[Plant, int], None]
    exporting: bool = False
    told: bool = False
    named: bool = False


def _line(plant: Plant, t: int) -> None:
    """The limit of the most loaded line drops to 90 % of what flows."""
    if t == 0:
        size = plant.point.of_line(0)[0] + np.arange(len(plant.point.lines))
        flow = plant.truth[-1][size]
        loaded = int(np.argmax(flow / plant.high[size]))
        plant.high[plant.point.of_line(loaded)] = LIMIT_DROP * flow[loaded]


def _cloud(plant: Plant, t: int) -> None:
    """30 % of the panels vanish within a minute; the head may import little more than it does."""
    _import_limit(plant, t)
    of = plant.point.fleet
    panels = np.flatnonzero(of.of("pv"))
    gone = np.random.default_rng(0).permutation(panels)[: round(CLOUD * len(panels))]
    if t >= 0:
        plant.sun_kw[gone] = of.high_kw[gone] * max(0.0, 1.0 - t / CLOUD_S)


def _load(plant: Plant, t: int) -> None:
    """All load grows by a fifth from one second to the next."""
    _import_limit(plant, t)
    if t == 0:
        plant.load *= JUMP


def _reverse(plant: Plant, t: int) -> None:
    """The head may suddenly export only 90 % of what it does."""
    if t == 0:
        plant.high[-1] = LIMIT_DROP * plant.truth[-1][-1]


def _ramp(plant: Plant, t: int) -> None:
    """More and more sun against an export limit that is nearly reached."""
    of = plant.point.fleet
    if t == 0:
        plant.high[-1] = 1.02 * plant.truth[-1][-1]
    if t >= 0:
        sun = of.of("pv")
        plant.sun_kw[sun] = of.high_kw[sun] * (1.0 + RAMP_A_MINUTE * min(t, 60) / 60.0)


def _import_limit(plant: Plant, t: int) -> None:
    if t == -WARNED_S:
        head, of = float(plant.truth[-1][-1]), plant.point.fleet
        gone = CLOUD * float(of.high_kw[of.of("pv")].sum())
        plant.low[-1] = head - min(HEAD_ROOM * abs(head), OF_CLOUD * gone)


def source_step(factor: float) -> Day:
    """The source's voltage rises in one step, for good: a tap changer that went too far."""

    def lift(plant: Plant, t: int) -> None:
        if t == 0:
            plant.lift_source(factor)

    return Day(lift)


DAYS: dict[str, Day] = {
    "line_limit": Day(_line, told=True, named=True),
    "cloud": Day(_cloud, named=True),
    "load_jump": Day(_load),
    "reverse_flow": Day(_reverse, exporting=True, told=True, named=True),
    "sun_ramp": Day(_ramp, exporting=True, named=True),
}
