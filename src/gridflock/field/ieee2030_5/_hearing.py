"""Readings and states of devices as columns.

A device with a meter at each of its DERs is one resource: what its meters say of one interval is added up,
once all of them have said it, over a restart too. A reading of a time to come counts as of its arrival and is
suspect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gridflock.field.ieee2030_5 import _combined, _map
from gridflock.field.ieee2030_5._columns import Columns, Said, Summed
from gridflock.field.ieee2030_5._map import Plate
from gridflock.field.ieee2030_5.resources import PowerStatus
from gridflock.field.ieee2030_5.server._equipment import AVAILABILITY, STATUS, history
from gridflock.field.ieee2030_5.server._mirrors import Waiting, fetched, waiting
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._state import Series, State
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Quality, Readings

_POWER = "ps"
_AHEAD_S = 60
"""By so much a device's clock may be ahead."""


class Hearing:
    """What has been heard of each device; on the server's thread.

    Args:
        plates: the resources that are listened to.
        bounds: lowest and highest power, kW, that a device is set to: what it offers is no more.
        usable_kwh: what a device stores when it says that it is full.
    """

    def __init__(
        self,
        plates: Mapping[str, Plate],
        bounds: Callable[[State, Device], tuple[float, float]],
        usable_kwh: Callable[[State, Device], float],
    ) -> None:
        self._plates, self._bounds, self._usable_kwh = plates, bounds, usable_kwh
        self._ids = tuple(plates)
        self._index = {name: at for at, name in enumerate(self._ids)}
        self._upto = 0
        self._said: dict[tuple[str, str], tuple[object, ...]] = {}
        self._last_kw: dict[str, tuple[int, float]] = {}
        self._last_kwh: dict[str, float] = {}
        self._sums: dict[tuple[str, str], Summed] | None = None

    def read(self, turn: Turn, devices: Mapping[str, Device]) -> Readings:
        """Readings and states that have arrived since the last call; those of that call are safe now."""
        if self._upto:
            fetched(turn, self._upto)
        batch = waiting(turn)
        self._upto = batch.upto
        sums = self._sums = self._resumed(turn, batch) if self._sums is None else self._sums
        columns, together = Columns(), dict[tuple[str, str], set[int]]()
        owner = {each.number: each.resource for each in turn.state.registry.devices.values()}
        for number, series in batch.series.items():
            mirror = batch.mirrors.get(series.mirror)
            name = "" if mirror is None else owner.get(mirror.device, "")
            means = None
            if mirror is not None and name in self._plates:
                means = _map.meant(series.type, mirror.role_flags, self._plates[name])
            if mirror is None or means is None:
                continue
            said = _said(batch, number, means.factor)
            key = name, means.quantity
            meters = self._meters(turn.state, mirror.device, key)
            if len(meters) > 1:
                sums.setdefault(key, Summed()).add(series.mirror, said)
                together[key] = meters
            else:
                sums.pop(key, None)
                self._tell(columns, key, said)
        for key, meters in together.items():
            self._tell(columns, key, sums[key].take(meters, mean=key[1] == "v_pu"))
        for name, device in devices.items():
            self._states(turn.state, name, device, columns)
        return columns.readings(self._ids)

    def _resumed(self, turn: Turn, batch: Waiting) -> dict[tuple[str, str], Summed]:
        """What several meters of a resource said in a former life, of which not all was whole and told.

        The newest intervals of every series are known; what is in the batch is not of that life.
        """
        state, sums = turn.state, dict[tuple[str, str], Summed]()
        afresh = set(zip(batch.number.tolist(), batch.start_s.tolist(), strict=True))
        for device in state.registry.devices.values():
            plate = self._plates.get(device.resource)
            meters = state.metering.of_device.get(device.number, {})
            for series in self._series(state, meters if plate is not None else {}):
                mirror = state.metering.mirrors[series.mirror]
                means = None if plate is None else _map.meant(series.type, mirror.role_flags, plate)
                key = device.resource, "" if means is None else means.quantity
                if means is None or len(self._meters(state, device.number, key)) < 2:
                    continue
                said = [
                    Said(start + duration, value * means.factor, _map.trust(flags))
                    for start, (duration, value, flags) in state.metering.recent.get(
                        series.number, {}
                    ).items()
                    if (series.number, start) not in afresh and start + duration <= turn.now_s + _AHEAD_S
                ]
                sums.setdefault(key, Summed()).add(mirror.number, said)
        for key, each in sums.items():
            each.take(each.known, mean=key[1] == "v_pu")  # told then
        return sums

    def _series(self, state: State, meters: Iterable[int]) -> list[Series]:
        metering = state.metering
        return [
            metering.series[each] for meter in meters for each in metering.of_mirror.get(meter, {}).values()
        ]

    def _meters(self, state: State, device: int, key: tuple[str, str]) -> set[int]:
        """Usage points of a device that tell one quantity of it."""
        metering, (name, quantity) = state.metering, key
        found = metering.of_device.get(device, {})
        if len(found) < 2:
            return {*found}
        means = {
            meter: [
                _map.meant(each.type, metering.mirrors[meter].role_flags, self._plates[name])
                for each in self._series(state, (meter,))
            ]
            for meter in found
        }
        return {meter for meter, each in means.items() if quantity in {one.quantity for one in each if one}}

    def _tell(self, columns: Columns, key: tuple[str, str], said: Sequence[Said]) -> None:
        """Put in readings of one resource and quantity."""
        if not said:
            return
        name, quantity = key
        sure = [each for each in said if each.quality != Quality.SUSPECT]
        if quantity == "p_kw" and sure:
            last = max(sure, key=lambda each: (each.end_s, each.value))
            self._last_kw[name] = max(self._last_kw.get(name, (0, 0.0)), (last.end_s, last.value))
        columns.add(
            self._index[name],
            quantity,
            np.array([each.value for each in said]),
            np.array([each.end_s for each in said], dtype=np.int64),
            [int(each.quality) for each in said],
        )

    def _states(self, state: State, name: str, device: Device, columns: Columns) -> None:
        """What a device has said of its state since the last call."""
        many = state.equipment.ders.get(device.number, 1)
        for kind in (STATUS, AVAILABILITY, _POWER):
            ders = (0,) if kind == _POWER else range(1, many + 1)
            last = [told[-1] for der in ders if (told := history(state, device.number, der, kind))]
            known = self._said.get((name, kind), ())
            if not last or (len(known) == len(last) and all(map(_is, known, last))):
                continue
            self._said[name, kind] = tuple(last)
            # A device's own word of when counts, as long as it is not ahead of the server's clock.
            at_s = max(min(getattr(told.resource, "reading_time", told.at_s), told.at_s) for told in last)
            for quantity, value in self._values(state, name, device, kind, last[-1].resource).items():
                columns.add(self._index[name], quantity, np.array([value]), np.array([at_s]), [0])

    def _values(self, state: State, name: str, device: Device, kind: str, said: object) -> dict[str, float]:
        if kind == STATUS:
            plate = replace(self._plates[name], e_max_kwh=self._usable_kwh(state, device))
            found = _combined.status(state, device.number, plate)
            self._last_kwh[name] = found.get("e_kwh", math.nan)
            return found
        if isinstance(said, PowerStatus):
            return _map.vehicle_of(said, self._last_kwh.get(name, math.nan))
        if kind == AVAILABILITY and name in self._last_kw:
            more_kw = _combined.more_kw(state, device.number)
            offered_kw = min(self._last_kw[name][1] + more_kw, self._bounds(state, device)[1])
            return {} if math.isnan(more_kw) else {"p_avail_kw": offered_kw}
        return {}


def _is(one: object, other: object) -> bool:
    return one is other


def _said(batch: Waiting, number: int, factor: float) -> list[Said]:
    """What a series says."""
    mine = np.flatnonzero(batch.number == number)
    end_s, arrived_s = batch.start_s[mine] + batch.duration_s[mine], batch.arrived_s[mine]
    return [
        Said(end, value, _map.trust(flags)) if end <= came + _AHEAD_S else Said(came, value, Quality.SUSPECT)
        for end, came, value, flags in zip(
            end_s.tolist(),
            arrived_s.tolist(),
            (batch.value[mine] * factor).tolist(),
            batch.quality[mine].tolist(),
            strict=True,
        )
    ]
