"""Which world: the feeder, the size of the fleet, the day, the seed, and how badly things go."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from importlib.resources import files
from typing import Any

import numpy as np

from gridflock.model import Json


class UnknownFeeder(LookupError):  # noqa: N818 - an answer to a question, in the words of the question
    """No feeder of that name is packed with the simulator; the text lists those that are."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world, complete: equal scenarios give equal worlds, byte for byte.

    Attributes:
        feeder: name of a packed feeder.
        ders: how many DERs; the mix of kinds is kept.
        day: local calendar day that is lived through.
        seed: of every draw.
        demand_scale: native demand on a typical evening peak, as a share of the feeder's published
            spot loads. Air-conditioning, vehicles and hot water come on top, device by device.
        hidden_share: demand nobody meters, as a share of the metered demand.
        impedance_spread: the true series impedances lie within ± this share of the model's.
        phase_error_share: share of single-phase meters that sit on another phase than registered.
        opt_out_share: share of customers who sit the whole day out.
        override_share: share who take their device back for some hours of the day.
        offline_day_share: share of devices that are silent the whole day.
        offline_hours_share: share silent for some hours.
        lost_share: share of messages (readings, orders) that never arrive.
        late_share: share of messages that arrive a minute or more late.
        meter_noise: standard deviation of a power reading, as a share of its value.
        spoken: how many of the DERs speak for themselves: they ask for orders and report now and then.
        trace: keep what a replay by another power-flow program needs, every tick.
    """

    feeder: str = "ieee123"
    ders: int = 2000
    day: date = date(2026, 7, 15)
    seed: int = 1
    demand_scale: float = 0.85
    hidden_share: float = 0.04
    impedance_spread: float = 0.10
    phase_error_share: float = 0.02
    opt_out_share: float = 0.13
    override_share: float = 0.05
    offline_day_share: float = 0.02
    offline_hours_share: float = 0.03
    lost_share: float = 0.02
    late_share: float = 0.02
    meter_noise: float = 0.01
    spoken: int = 0
    trace: bool = False


def feeder_document(name: str) -> dict[str, Json]:
    """The packed feeder document of that name, a new copy each time.

    Raises:
        UnknownFeeder: no such feeder; lists the known ones.
    """
    folder = files("gridflock.sim") / "feeders"
    known = sorted(
        entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")
    )
    if name not in known:
        raise UnknownFeeder(f"no feeder {name!r}; known: {', '.join(known)}")
    document: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return document


class Draw(IntEnum):
    """What a draw is for. Each purpose has a stream of its own, so that none disturbs another."""

    FLEET = 0
    NETWORK = 1
    WEATHER = 2
    DEMAND = 3
    SESSIONS = 4
    HOT_WATER = 5
    PROCESS = 6
    PEOPLE = 7
    START = 8
    METER = 9
    ORDER = 10
    FORECAST = 11


def draws(seed: int, purpose: Draw, *key: int) -> np.random.Generator:
    """Generator for one purpose and key (a day's ordinal, a minute …): stateless, so replayable.

    Every draw of the world comes from here and none depends on what was drawn or ordered
    before. A managed and an unmanaged day therefore share weather, habits and bad luck exactly,
    and a restored world needs no generator state.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *key)))
