"""What is learnt how: plan groups by class, with settings small enough to be learnt every day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gridflock.forecast.learned import SETTINGS, Settings
from gridflock.forecast.quality import Kind

OUTSIDE = "outside"
"""The series of everything at the feeder head that the resources do not explain."""

_SUN, _EV, _HOMES = SETTINGS["pv"], SETTINGS["ev"], SETTINGS["homes"]
_AIR = ("clock", "lags", "around", "level", "thermal", "sky")
SUBJECTS: Mapping[str, Settings] = {
    name: replace(settings, warm_days=14, refit_days=14)
    for name, settings in {
        OUTSIDE: replace(
            SETTINGS["feeder"], members=("ridge", "trees"), mode="table", leaves=15, most_rows=60_000
        ),
        "sun": replace(_SUN, members=("trees",), mode="three", trees=60, leaves=7, most_rows=100_000),
        "wind": replace(SETTINGS["wind"], members=("trees",), mode="three", trees=60, most_rows=60_000),
        "thermal": replace(_HOMES, blocks=_AIR, members=("trees",), mode="table", most_rows=80_000),
        "vehicle": replace(_EV, members=("trees",), mode="three", trees=60, most_rows=80_000),
    }.items()
}
"""By the family in a plan group's name; of the others habits tell."""
_KINDS = {"sun": Kind.SOLAR, "wind": Kind.WIND}


def subjects_of(series: Sequence[str]) -> dict[str, list[int]]:
    """Rows of the series of each subject that is learnt."""
    found: dict[str, list[int]] = {}
    for row, name in enumerate(series):
        subject = subject_of(name)
        if subject in SUBJECTS:
            found.setdefault(subject, []).append(row)
    return found


def subject_of(name: str) -> str:
    """The family in the name of a series; its own name where it has none."""
    return name.split("/")[1] if name.startswith("plan/") else name


def kind_of(name: str) -> Kind:
    """What a series is expected to be, for the gate: sums of much else are expected to be anything."""
    return _KINDS.get(subject_of(name), Kind.NET if name == OUTSIDE else Kind.OTHER)
