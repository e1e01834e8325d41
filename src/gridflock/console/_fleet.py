"""Commands on the registry: ``gridflock fleet …``."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gridflock.console._screen import file_faults, stop
from gridflock.schema import CUSTOMER_CLASSES, REGISTRY, Enrolment, Kind
from gridflock.units import iso, phase_letters, unix_s

app = typer.Typer(help="The registry: files, imports, queries, versions.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="Registry .csv, .json, .jsonl, .ndjson or .parquet.")]
Data = Annotated[Path, typer.Option("--data", help="Data folder, whose ledger holds the registry.")]
AsOf = Annotated[str, typer.Option("--as-of", help="The registry as it was, ISO 8601; default the present.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DATA = Path("gridflock-data")
_SHOWN = 20
_LISTED = 1_000
_NAMED = {
    "kind": {int(kind): kind.name.lower() for kind in Kind},
    "customer": dict(enumerate(CUSTOMER_CLASSES)),
    "enrolment": {int(state): state.name.lower() for state in Enrolment},
}


@app.command()
def check(
    file: File,
    feeder: Annotated[str, typer.Option(help="Packed feeder whose buses the rows name.")] = "ieee123",
    as_json: AsJson = False,
) -> None:
    """Check a registry file: every fault by row, field and rule; exit code 1 on any."""
    from gridflock.runtime._import import places_of
    from gridflock.runtime._registry import read_file

    with file_faults(), _progress(as_json) as progress:
        found = read_file(file, places_of(feeder), progress)
    answer = {"accepted": len(found.registry.ids), "rejected": _told(found.rejected)}
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        typer.echo(f"{answer['accepted']} of {found.rows} rows are sound")
        _refusals(found)
    raise typer.Exit(1 if found.rejected else 0)


@app.command()
def export(
    file: Path,
    feeder: Annotated[str, typer.Option(help="Packed feeder.")] = "ieee123",
    ders: Annotated[int, typer.Option(min=1, max=20_000, help="How many DERs.")] = 2000,
    day: Annotated[str, typer.Option(help="Local calendar day, YYYY-MM-DD.")] = "2026-07-15",
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write the registry of a simulated fleet as CSV: a file to start from."""
    from gridflock.console import _offline

    count = _offline.export_fleet(file, _offline.scenario(feeder, ders, day, seed))
    told = {"file": str(file), "resources": count}
    typer.echo(json.dumps(told) if as_json else f"{count} resources written to {file}")


@app.command("import")
def import_(
    file: File,
    data: Data = _DATA,
    feeder: Annotated[
        str | None, typer.Option(help="Packed feeder whose buses the rows name; default the folder's own.")
    ] = None,
    since: Annotated[
        str, typer.Option("--from", help="Moment from which the rows hold, ISO 8601; default the present.")
    ] = "",
    author: Annotated[str, typer.Option(help="Kept with every change.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Import a registry file: good rows land, bad ones are named; exit code 1 where any was refused.

    Known resources keep what the file has no column for; the same file twice changes nothing. A system
    that runs in the folder has to be stopped first and takes the rows up when it starts again.
    """
    from gridflock.runtime._import import import_file

    valid_s = _moment(since, "from")
    with file_faults(), _progress(as_json) as progress:
        done = import_file(
            file=file, folder=data, feeder=feeder, valid_s=valid_s, author=author, progress=progress
        )
    read, found = done.read, done.imported
    rejected = (*read.rejected, *found.rejected)
    refused = read.rows - len(read.registry.ids) + sum(fault.count for fault in found.rejected)
    answer = {
        "file": str(file),
        "from": iso(done.valid_s),
        "rows": read.rows,
        "added": found.added,
        "changed": found.resources,
        "unchanged": found.unchanged,
        "refused": refused,
        "resources": len(found.registry.ids),
        "attributes": dict(found.changed),
        "faults": [
            {"field": field, "rule": rule, "count": count} for (field, rule), count in read.faults.items()
        ],
        "rejected": _told(rejected[:_LISTED]),
    }
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        names = ("rows", "added", "changed", "unchanged", "refused", "resources")
        typer.echo(", ".join(f"{answer[name]} {name}" for name in names))
        for name, count in found.changed.items():
            typer.echo(f"  {name}: {count} changed")
        _refusals(read, found.rejected)
    raise typer.Exit(1 if rejected else 0)


@app.command()
def query(
    expression: Annotated[
        str, typer.Argument(metavar="QUERY", help='As "kind = ev_v1g and p_min_kw < -3"; see docs/fleet.md.')
    ],
    data: Data = _DATA,
    file: Annotated[Path | None, typer.Option(help="Ask a registry file instead of a data folder.")] = None,
    as_of: AsOf = "",
    count: Annotated[bool, typer.Option("--count", help="Only how many.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every attribute of each as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Resources for which a condition over attributes holds."""
    from gridflock.fleet.registry import QueryRejected, parse, select

    try:
        condition = parse(expression)
    except QueryRejected as error:
        raise stop(str(error)) from error
    registry = _registry(data, file, as_of)
    rows = select(registry, condition).tolist()
    if count:
        typer.echo(json.dumps({"count": len(rows)}) if as_json else str(len(rows)))
    elif as_csv:
        names = [*(entry.name for entry in REGISTRY), *registry.identities]
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_attributes(registry, row) for row in rows)
    elif as_json:
        typer.echo(json.dumps([_attributes(registry, row) for row in rows], indent=1))
    else:
        _list(registry, rows)


@app.command()
def show(
    resource: Annotated[str, typer.Argument(metavar="ID", help="Identity of the resource.")],
    data: Data = _DATA,
    as_of: AsOf = "",
    as_json: AsJson = False,
) -> None:
    """One resource: every attribute at a moment, and every version of its settings."""
    from gridflock.runtime._import import registry_of

    with file_faults():
        registry, versions = registry_of(data, _moment(as_of, "as-of"))
    found = [
        {
            "from": iso(version.valid_s),
            "known": iso(version.known_s),
            "attribute": version.attribute,
            "old": _named(version.attribute, version.old),
            "new": _named(version.attribute, version.new),
            "author": version.author,
            "source": version.source,
        }
        for version in versions.of(resource)
    ]
    if not found:
        raise stop(f"id: no resource {resource!r} in {data}")
    known = resource in registry.ids
    attributes = _attributes(registry, registry.ids.index(resource)) if known else None
    if as_json:
        typer.echo(json.dumps({"id": resource, "attributes": attributes, "versions": found}, indent=1))
        return
    if attributes is None:
        typer.echo(f"{resource} was not known then")
    for name, value in (attributes or {}).items():
        typer.echo(f"{name:>16}  {'' if value is None else value}")
    for version in found:
        typer.echo("  ".join(f"{value}" for value in version.values()))


def _registry(data: Path, file: Path | None, as_of: str) -> Any:  # noqa: ANN401 - the fleet is loaded only by the commands that need it
    """The registry of a folder, or of a file."""
    from gridflock.runtime._import import registry_of
    from gridflock.runtime._registry import read_file

    with file_faults():
        if file is None:
            return registry_of(data, _moment(as_of, "as-of"))[0]
        with _progress(quiet=False) as progress:
            return read_file(file, None, progress).registry


def _attributes(registry: Any, row: int) -> dict[str, Any]:  # noqa: ANN401 - the same
    """Every attribute of a row as people and files write it; absent ones are None."""
    found: dict[str, Any] = {"id": registry.ids[row]}
    for name, column in registry.columns.items():
        value = registry.labels[name][column[row]] if name in registry.labels else column[row].item()
        found[name] = _named(name, value)
    found |= {name: texts[row] or None for name, texts in registry.identities.items()}
    return found


def _named(name: str, value: float | str | None) -> float | str | None:
    """A code as its name; absent numbers and texts as None."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if name == "phases":
        return phase_letters(int(value))
    if name in _NAMED:
        return _NAMED[name][int(value)]
    return float(f"{value:.7g}")  # the digits that a float32 has


def _list(registry: Any, rows: list[int]) -> None:  # noqa: ANN401 - the same
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = ("id", "kind", "bus", "phases", "provider", "program", "p_max_kw", "p_min_kw", "e_max_kwh")
    table = Table(*names, header_style="bold")
    for row in rows[:_SHOWN]:
        cells = _attributes(registry, row)
        table.add_row(*(escape("" if cells[name] is None else str(cells[name])) for name in names))
    if rows:
        Console().print(table)
    more = f", {_SHOWN} shown" if len(rows) > _SHOWN else ""
    typer.echo(f"{len(rows)} of {len(registry.ids)} resources{more}")


def _told(rejected: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the same
    """Faults as JSON; a count where one stands for many."""
    return [
        {"row": fault.row, "id": ", ".join(fault.ids), "field": fault.field, "reason": fault.reason}
        | ({"count": fault.count} if fault.count > 1 or not fault.row else {})
        for fault in rejected
    ]


def _refusals(read: Any, later: Any = ()) -> None:  # noqa: ANN401 - the same
    """Faults by field and rule, and the first of them by row."""
    for (field, rule), count in read.faults.items():
        typer.echo(f"  {count} refused: {field}: {rule}")
    for fault in (*read.rejected, *later)[:_SHOWN]:
        who = f" ({', '.join(fault.ids)})" if fault.ids else ""
        place = f"row {fault.row}" if fault.row else f"{fault.count} more"
        typer.echo(f"{place}{who}: {fault.field}: {fault.reason}")


def _moment(text: str, option: str) -> int | None:
    if not text:
        return None
    try:
        moment = unix_s(text)
    except (ValueError, OverflowError) as error:
        raise stop(f"{option}: {text!r} (rule: ISO 8601, as 2026-07-15T12:00)") from error
    if moment < 0:
        raise stop(f"{option}: {text!r} (rule: not before 1970)")
    return moment


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, float], None]]:  # noqa: FBT001 - a flag passed on
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("reading", total=1.0)
        yield lambda rows, share: bar.update(task, completed=share, description=f"{rows:,} rows")
