"""What devices are told beside orders, as people write it: a TOML file, with every fault by name."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gridflock.field.ieee2030_5._limiting import Held
from gridflock.field.ieee2030_5._placing import Curve
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault
from gridflock.runtime.devices._places import MAY_BE_GIVEN, curve, unfit
from gridflock.runtime.devices._published import Publishes

_YES = ("envelopes", "prices", "reservations", "settings_hold")
_POWERS = ("export_kw", "import_kw")
_WHOLE = {"horizon_s": (900, 86_400), "currency": (1, 999), "randomize_s": (-3_600, 3_600)}
_FALLBACK = frozenset({"export_kw", "import_kw", "equipment"})
_CURVE = frozenset({"group", "kind", "v_pu", "y"})


def read_publishes(path: Path) -> Publishes:
    """What a TOML file says; what it does not name is as ever.

    Raises:
        RequestRejected: with every fault.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = Fault("publishes", "a TOML file of what devices are told", f"{path} cannot be read: {error}")
        raise RequestRejected((fault,)) from error
    return publishes_of(document)


def publishes_of(document: Mapping[str, Any]) -> Publishes:
    """What a document says: fields of ``Publishes``, ``fallback`` by resource, ``curves`` as tables.

    Raises:
        RequestRejected: with every fault.
    """
    known = {item.name for item in fields(Publishes)}
    faults = [
        Fault(name, f"one of {', '.join(sorted(known))}", "no such word")
        for name in document
        if name not in known
    ]
    told: dict[str, Any] = {}
    for name in _YES:
        if name in document:
            told[name] = _checked(
                faults, name, document[name], isinstance(document[name], bool), "true or false"
            )
    for name in _POWERS:
        if name in document:
            told[name] = _power(faults, name, document[name])
    for name, (low, high) in _WHOLE.items():
        if name in document:
            value = document[name]
            fine = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
            told[name] = _checked(faults, name, value, fine, f"a whole number from {low} to {high}")
    told["fallback"] = _fallback(faults, document.get("fallback", {}))
    told["curves"] = _curves(faults, document.get("curves", []))
    if faults:
        raise RequestRejected(tuple(faults))
    return Publishes(**told)


def _checked(faults: list[Fault], name: str, value: object, fine: bool, rule: str) -> object:  # noqa: FBT001 whether it holds
    if not fine:
        faults.append(Fault(name, rule, f"{value!r} is not"))
    return value


def _power(faults: list[Fault], name: str, value: object) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    _checked(faults, name, value, fine, "a power of at least 0 kW, or inf")
    return float(value) if fine and isinstance(value, int | float) else math.inf


def _fallback(faults: list[Fault], tables: object) -> dict[str, Held]:
    """Bounds without contact by resource."""
    if not isinstance(tables, Mapping) or not all(isinstance(each, Mapping) for each in tables.values()):
        faults.append(Fault("fallback", "a table of tables by resource", f"{tables!r} is not"))
        return {}
    found = {}
    for name, table in tables.items():
        place = f"fallback.{name}"
        faults += [
            Fault(f"{place}.{word}", f"one of {', '.join(sorted(_FALLBACK))}", "no such word")
            for word in table
            if word not in _FALLBACK
        ]
        powers = [_power(faults, f"{place}.{word}", table.get(word, math.inf)) for word in _POWERS]
        equipment = table.get("equipment", False)
        _checked(faults, f"{place}.equipment", equipment, isinstance(equipment, bool), "true or false")
        found[name] = Held(-powers[1], powers[0], at_point=not equipment)
    return found


def _curves(faults: list[Fault], tables: object) -> dict[str, tuple[Curve, ...]]:
    """Curves by group, each within the bounds of what inverters may be given."""
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        faults.append(Fault("curves", "a list of tables", f"{tables!r} is not"))
        return {}
    found: dict[str, tuple[Curve, ...]] = {}
    for table in tables:
        group = str(table.get("group", "all"))
        place = f"curves.{group}"
        points = [table.get(word) for word in ("v_pu", "y")]
        if set(table) - _CURVE or not all(_numbers(each) for each in points):
            words = ", ".join(sorted(_CURVE))
            faults.append(Fault(place, f"a table of {words}, points as lists of numbers", f"{dict(table)!r}"))
            continue
        made = curve(group, str(table.get("kind", "volt-var")), points[0] or [], points[1] or [])
        wrong = made if isinstance(made, tuple) else unfit(group, (*found.get(group, ()), made))
        faults += [Fault(f"{place}.{one.field}", MAY_BE_GIVEN, one.reason) for one in wrong]
        if isinstance(made, Curve) and not wrong:
            found[group] = (*found.get(group, ()), made)
    return found


def _numbers(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in values
    )
