"""What devices have agreed with their server, in the words of the ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from gridflock.field.ieee2030_5._field import UtilityField
from gridflock.runtime._agreed import Agreed, Setting
from gridflock.runtime._reserved import Granted

_NAMES = {each.name: each.name for each in fields(Setting)} | {"e_min_kwh": "e_reserve_kwh"}
del _NAMES["resource"]


class Agreeing:
    """Reads from a field what is granted and which settings hold.

    Args:
        field: the devices.
    """

    def __init__(self, field: UtilityField) -> None:
        self._field = field
        self._told: Mapping[str, Mapping[str, float]] | None = None
        self.agreed = Agreed()
        """As of the last reading; None for what is not known yet."""

    def read(self) -> None:
        """After a reading of the field; what has not changed stays the same value."""
        granted, settings = self._field.granted, self.agreed.settings
        if self._field.settings is not self._told:
            self._told = self._field.settings
            settings = (
                None
                if self._told is None
                else tuple(
                    Setting(name, **{ours: of[theirs] for ours, theirs in _NAMES.items() if theirs in of})
                    for name, of in sorted(self._told.items())
                )
            )
        self.agreed = Agreed(
            None
            if granted is None
            else tuple(
                Granted(one.mrid, one.resource, one.start_s, one.end_s, one.p_kw, one.e_kwh)
                for one in granted
            ),
            settings,
        )
