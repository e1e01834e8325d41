"""What is wrong with the data of a fleet: ``gridflock doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gridflock.runtime._doctor import Visit

_LISTED = 1_000
_SHOWN = 3


def doctor(
    file: Annotated[
        Path | None, typer.Argument(help="Registry .csv, .json, .jsonl, .ndjson or .parquet.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A data folder instead: its registry and history.")
    ] = None,
    *,
    demo: Annotated[bool, typer.Option("--demo", help="A simulated fleet after a day instead.")] = False,
    feeder: Annotated[
        str | None, typer.Option("--feeder", help="Packed feeder whose buses the file names.")
    ] = None,
    ders: Annotated[int, typer.Option("--ders", min=1, max=20_000, help="Of the demo.")] = 600,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the demo.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine a fleet: missing and impossible values, lost telemetry, wrong phases; each with its remedy.

    Give one of FILE, --data and --demo. Exit code 1 where something cannot be right.
    """
    if sum((file is not None, data is not None, demo)) != 1:
        raise _stop("doctor: give one of FILE, --data and --demo")
    from gridflock.fleet.doctor import Severity  # noqa: PLC0415 - other commands must not wait for it
    from gridflock.runtime import _doctor as visits  # noqa: PLC0415 - the same

    with _faults():
        if file is not None:
            visit = visits.see_file(file, feeder)
        else:
            visit = visits.see_demo(ders, seed) if data is None else visits.see_folder(data)
    if as_json:
        typer.echo(json.dumps(_document(visit), indent=1))
    else:
        _print(visit)
    grave = any(finding.severity == Severity.ERROR for finding in visit.examination.findings)
    raise typer.Exit(1 if grave or visit.rejected else 0)


def _document(visit: Visit) -> dict[str, Any]:
    """The whole answer; a finding lists at most a thousand resources, and says how many there are."""
    seen, ids = visit.examination, visit.fleet.ids
    findings = [
        {
            "rule": finding.rule,
            "severity": finding.severity.name.lower(),
            "attribute": finding.field,
            "count": len(finding.rows),
            "resources": [ids[row] for row in finding.rows[:_LISTED].tolist()],
            "reason": finding.reason,
            "remedy": finding.remedy,
        }
        for finding in seen.findings
    ]
    rejected = [
        {"row": fault.row, "id": ", ".join(fault.ids), "field": fault.field, "reason": fault.reason}
        for fault in visit.rejected[:_LISTED]
    ]
    return {
        "resources": seen.rows,
        "findings": findings,
        "skipped": dict(seen.skipped),
        "phases_judged": seen.phases_judged,
        "transformers_judged": seen.transformers_judged,
        "refused": sum(fault.count for fault in visit.rejected),
        "rejected": rejected,
    }


def _print(visit: Visit) -> None:
    """Findings, two lines each, then what could not be looked at."""
    seen = visit.examination
    for finding in seen.findings:
        more = f" and {len(finding.rows) - _SHOWN} more" if len(finding.rows) > _SHOWN else ""
        names = ", ".join(finding.ids[:_SHOWN]) + more
        typer.echo(f"{finding.severity.name.lower():<8} {finding.rule} ({finding.field}): {names}")
        typer.echo(f"         {finding.reason}; {finding.remedy}")
    refused = sum(fault.count for fault in visit.rejected)
    told = f"; faults in rows that were refused: {refused}" if refused else ""
    typer.echo(f"{seen.rows} resources, {len(seen.findings)} findings{told}")
    for why in dict.fromkeys(seen.skipped.values()):
        rules = ", ".join(rule for rule, reason in seen.skipped.items() if reason == why)
        typer.echo(f"not looked at, since {why}: {rules}")


@contextmanager
def _faults() -> Iterator[None]:
    """Faults of files and folders as one line and exit code 1."""
    from gridflock.record import RecordError  # noqa: PLC0415 - other commands must not wait for it
    from gridflock.runtime import FileRejected  # noqa: PLC0415 - the same
    from gridflock.sim import UnknownFeeder  # noqa: PLC0415 - the same

    try:
        yield
    except FileRejected as error:
        fault = error.rejected
        place = f" line {fault.row}" if fault.row else ""
        raise _stop(f"{fault.field}{place}: {fault.reason}") from error
    except UnknownFeeder as error:
        raise _stop(f"feeder: {error.args[0]} (rule: a packed feeder)") from error
    except (RecordError, OSError) as error:
        raise _stop(f"data: {error}") from error


def _stop(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)
