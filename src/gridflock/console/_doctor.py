"""What is wrong with the data of a fleet: ``gridflock doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, file_faults, stop

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
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Examine a fleet: missing and impossible values, lost telemetry, wrong phases; each with its remedy.

    Give one of FILE, --data and --demo, or none for the fleet of a running server. Exit code 1 where
    something cannot be right.
    """
    asked = sum((file is not None, data is not None, demo))
    if asked > 1:
        raise stop("doctor: give one of FILE, --data and --demo")
    if not asked:
        raise _living(Remote(url, token).ask("GET", "/api/doctor"), as_json)
    from gridflock.fleet.doctor import Severity
    from gridflock.runtime import _doctor as visits

    with file_faults():
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


def _living(answer: dict[str, Any], as_json: bool) -> typer.Exit:  # noqa: FBT001 - a flag passed on
    """Show what a running server says of its fleet."""
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        for finding in answer["findings"]:
            _tell(finding)
        _close(answer["resources"], len(answer["findings"]), "", answer["skipped"])
    return typer.Exit(1 if any(finding["severity"] == "error" for finding in answer["findings"]) else 0)


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
    document = _document(visit)
    for finding in document["findings"]:
        _tell(finding)
    refused = document["refused"]
    told = f"; faults in rows that were refused: {refused}" if refused else ""
    _close(document["resources"], len(document["findings"]), told, document["skipped"])


def _tell(finding: dict[str, Any]) -> None:
    names, more = ", ".join(finding["resources"][:_SHOWN]), finding["count"] - _SHOWN
    names += f" and {more} more" if more > 0 else ""
    typer.echo(f"{finding['severity']:<8} {finding['rule']} ({finding['attribute']}): {names}")
    typer.echo(f"         {finding['reason']}; {finding['remedy']}")


def _close(resources: int, findings: int, told: str, skipped: dict[str, str]) -> None:
    typer.echo(f"{resources} resources, {findings} findings{told}")
    for why in dict.fromkeys(skipped.values()):
        rules = ", ".join(rule for rule, reason in skipped.items() if reason == why)
        typer.echo(f"not looked at, since {why}: {rules}")
