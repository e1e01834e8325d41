"""Registry files into data folders, and the registry of a folder as of any moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from gridflock.fleet.registry import Registry, Versions, read_registry
from gridflock.grid.build import from_document
from gridflock.record import open_record
from gridflock.runtime._registry import FileRead, Progress, read_file
from gridflock.runtime._roll import Imported, present_s, take, versions
from gridflock.runtime._system import phases_of_buses
from gridflock.sim import Scenario, World, feeder_document


@dataclass(frozen=True, slots=True, eq=False)
class ImportDone:
    """A file that was imported.

    Attributes:
        read: what the file holds.
        imported: what it changed.
        valid_s: moment from which it holds.
    """

    read: FileRead
    imported: Imported
    valid_s: int


def places_of(feeder: str) -> dict[str, int]:
    """Mask of the phases present at each bus of a packed feeder.

    Raises:
        UnknownFeeder: no feeder of that name.
    """
    return phases_of_buses(from_document(feeder_document(feeder)))


def import_file(
    folder: Path,
    file: Path,
    *,
    feeder: str | None = None,
    valid_s: int | None = None,
    author: str = "operator",
    progress: Progress | None = None,
) -> ImportDone:
    """Import a registry file into a data folder: good rows land, the ledger keeps what changed.

    A known resource keeps what the file has no column for. A running system holds its folder, so that
    nobody else can import into it; it takes up what was imported when it is started again.

    Args:
        folder: data folder; made if missing.
        file: CSV, JSON, JSON lines or Parquet.
        feeder: packed feeder whose buses the rows name; None = the folder's own, or unchecked where it
            has none.
        valid_s: moment from which the rows hold, unix seconds; None = the folder's present.
        author: who says so.
        progress: told rows read and the share of the file.

    Raises:
        FileRejected: the file as a whole cannot be read; nothing was changed.
        RecordBusy: another process lives in the folder.
        UnknownFeeder: no feeder of that name.
    """
    scenario = scenario_of(folder)
    feeder = feeder or (scenario.feeder if scenario else None)
    places = None if feeder is None else places_of(feeder)
    record = open_record(folder)
    try:
        read = read_file(file, places, progress)
        known = versions(record)
        now_s = present_s(record)
        if scenario is not None and not known.changes:
            # A rehearsed folder begins with what its world says of itself.
            world = World(scenario)
            now_s = max(now_s, world.start_s) if now_s < world.end_s else world.start_s
            own, _ = read_registry(world.registry, places)
            take(
                record,
                known,
                own,
                None,
                valid_s=world.start_s,
                now_s=world.start_s,
                author="simulation",
                source=scenario.feeder,
            )
            known = versions(record)
        valid_s = now_s if valid_s is None else valid_s
        done = take(
            record,
            known,
            read.registry,
            read.given,
            valid_s=valid_s,
            now_s=now_s,
            author=author,
            source=file.name,
        )
    finally:
        record.close()
    return ImportDone(read, done, valid_s)


def registry_of(folder: Path, t_s: int | None = None) -> tuple[Registry, Versions]:
    """The registry of a data folder at a moment, its present by default, and all versions.

    The folder may be in use.

    Raises:
        RecordError: no ledger there, or a broken one.
    """
    record = open_record(folder, read_only=True)
    try:
        known = versions(record)
        return known.as_of(present_s(record) if t_s is None else t_s), known
    finally:
        record.close()


def scenario_of(folder: Path) -> Scenario | None:
    """The scenario that lives in a folder, if one does."""
    path = folder / "scenario.json"
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return Scenario(**{**told, "day": date.fromisoformat(told["day"])})
