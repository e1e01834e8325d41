"""Which weather a system is told, as the command line says it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from gridflock.console._screen import stop
from gridflock.field.weather import FileWeather, HttpWeather, NoWeather, service_from

if TYPE_CHECKING:
    from gridflock.ports import Weather
    from gridflock.sim import Scenario

_NONE = "none"
_SHOWN = 5


def weather_of(text: str, scenario: Scenario) -> Weather | None:
    """Nothing for the world's own service; ``none``; a table or a folder of them; settings of a service.

    What is at fault ends the command with 1.
    """
    from gridflock.grid.build import from_document
    from gridflock.sim import feeder_document

    if not text:
        return None
    if text == _NONE:
        return NoWeather()
    path, feeder = Path(text), from_document(feeder_document(scenario.feeder))
    if not path.exists():
        raise stop(
            f"weather: {text}: no such file or folder (rule: none, a table, a folder, or a .toml file)"
        )
    if path.suffix != ".toml":
        return FileWeather(path, feeder.timezone)
    try:
        found = service_from(tomllib.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise stop(f"weather: {path.name}: {error}") from error
    if isinstance(found, tuple):
        raise stop("\n".join(f"weather: {fault.field}: {fault.reason}" for fault in found[:_SHOWN]))
    return HttpWeather(found, feeder.latitude, feeder.longitude)
