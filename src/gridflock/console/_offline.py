"""Commands that need no running server: studies, registry files, users, the audit of a folder."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gridflock.console import _report
from gridflock.console._screen import stop
from gridflock.record import RecordError, open_record
from gridflock.runtime import FileRejected, Role, Users, plain, read_rows, simulate
from gridflock.schema import REGISTRY
from gridflock.sim import Scenario, UnknownFeeder, World, feeder_document

RowList = list[Mapping[str, object]]
_FIRST_YEAR, _LAST_YEAR = 1980, 2100


def scenario(feeder: str, ders: int, day: str, seed: int) -> Scenario:
    """A scenario from the command line's words, or an end with what is wrong."""
    try:
        feeder_document(feeder)
        found = Scenario(feeder=feeder, ders=ders, day=date.fromisoformat(day), seed=seed)
    except UnknownFeeder as error:
        raise stop(f"feeder: {error.args[0]} (rule: a packed feeder)") from error
    except ValueError as error:
        raise stop(f"day: {error} (rule: YYYY-MM-DD)") from error
    if not _FIRST_YEAR <= found.day.year <= _LAST_YEAR:
        raise stop(f"day: {day} (rule: a year from {_FIRST_YEAR} to {_LAST_YEAR})")
    return found


def study(world: Scenario, folder: Path, weeks: int, *, as_json: bool) -> None:
    """Live the day twice, write both reports, and say the result."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise stop(f"out: {folder}: {error.strerror} (rule: a folder that can be written)") from error
    screen = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="gridflock-") as data, Progress(console=screen) as bar:
        task = bar.add_task("preparing", total=1.0)

        def progress(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        found = simulate(world, Path(data), progress, weeks)
    timezone = str(feeder_document(world.feeder)["timezone"])
    page = _report.write(found, timezone, folder)
    document = _report.as_document(found)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    for table in _tables(document["unmanaged"], document["managed"]):
        screen.print(table)
    screen.print(f"{page} and report.json; {document['timings']['total_s']:.1f} s")


def _tables(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Table, Table]:
    """Both days' figures and bills, and what each kind of resource did."""
    figures = Table("", "unmanaged", "managed", header_style="bold")
    for name, value in before.items():
        if isinstance(value, float):
            digits = ".1e" if name == "opendss_max_error_pu" else ",.3f"
            figures.add_row(name, format(value, digits), format(after[name], digits))
    for customer, bill in before["bills"].items():
        settled = before["settled_bills"][customer], after["settled_bills"][customer]
        figures.add_row(
            f"bill, {customer}", f"{bill['total']:,.2f}", f"{after['bills'][customer]['total']:,.2f}"
        )
        figures.add_row(f"bill settled, {customer}", f"{settled[0]:,.2f}", f"{settled[1]:,.2f}")
    kinds = Table("", "number", "kW", "kWh drawn", "managed", "kWh delivered", "managed", header_style="bold")
    for kind, row in before["kinds"].items():
        now = after["kinds"][kind]
        cells = (
            row["installed_kw"],
            row["drawn_kwh"],
            now["drawn_kwh"],
            row["delivered_kwh"],
            now["delivered_kwh"],
        )
        kinds.add_row(kind, f"{row['resources']:.0f}", *(f"{value:,.0f}" for value in cells))
    return figures, kinds


def bench_powerflow(
    feeder: str,
    root: Path | None,
    scenarios: int,
    level: float,
    seed: int,
    *,
    widen: bool,
    controls: bool,
    processors: bool,
    against: str,
) -> dict[str, Any]:
    """Ours against a rival, or an end that names what is missing, does not fit or was not solved."""
    from gridflock import bench
    from gridflock.grid.build import FeederRejected
    from gridflock.runtime.feeder import collection

    _check_powerflow(feeder, against, widen=widen, controls=controls, processors=processors)
    root = root or collection(Path(feeder))
    asked = (feeder, root, scenarios, level, seed)
    try:
        if against == "power-grid-model":
            found = bench.against_power_grid_model(*asked)
        elif controls:
            found = bench.series(*asked)
        else:
            limits = bench.WIDE_PU if widen else None
            found = bench.powerflow(*asked, widen=limits, processors=processors)
    except (ImportError, UnknownFeeder, FeederRejected, OSError, bench.ProcessorFailed) as error:
        raise stop(str(error)) from error
    except ArithmeticError as error:
        raise stop(str(error), code=2) from error
    answer: dict[str, Any] = plain(dict(found))
    return answer


def _check_powerflow(feeder: str, against: str, *, widen: bool, controls: bool, processors: bool) -> None:
    """End where options contradict each other: one that would be left out quietly is refused."""
    if against not in {"opendss", "power-grid-model"}:
        raise stop(f"against: {against!r} (rule: opendss or power-grid-model)")
    options = {"--widen": widen, "--controls": controls, "--processors": processors}
    given = [name for name, chosen in options.items() if chosen]
    if given and against != "opendss":
        raise stop(f"against: {against} with {' and '.join(given)} (rule: with opendss only)")
    if controls and len(given) > 1:
        raise stop(f"controls: together with {' and '.join(set(given) - {'--controls'})} (rule: alone)")
    if controls and Path(feeder).suffix.lower() != ".dss":
        raise stop(
            f"controls: feeder {feeder!r} (rule: an OpenDSS master, since OpenDSS's own controls are the "
            "rival; a packed feeder is written for it with its taps held)"
        )


def bench_estimation(
    feeder: str, root: Path | None, runs: int, level: float, missing: float, seed: int
) -> dict[str, Any]:
    """The estimator measured, or an end that names what is missing."""
    from gridflock import bench
    from gridflock.grid.build import FeederRejected
    from gridflock.runtime.feeder import collection

    root = root or collection(Path(feeder))
    try:
        return dict(bench.estimation(feeder, root, runs, level, missing, seed))
    except (ImportError, UnknownFeeder, FeederRejected, OSError) as error:
        raise stop(str(error)) from error


def bench_fleet(ders: int, seed: int) -> dict[str, Any]:
    """The fleet measured, or an end that names what is missing."""
    from gridflock import bench

    try:
        return dict(bench.fleet(ders, seed))
    except (ImportError, OSError, bench.ImportFailed) as error:
        raise stop(str(error)) from error


def bench_flexibility(members: int, prices: int, seed: int) -> dict[str, Any]:
    """Vertices of a flexibility set measured."""
    from gridflock import bench

    return dict(bench.flexibility(members, prices, seed))


def bench_dispatch(ders: int, ticks: int, seed: int) -> dict[str, Any]:
    """The fast tick measured."""
    from gridflock import bench

    return dict(bench.dispatch(ders, ticks, seed))


def bench_forecast(series: int, seed: int) -> dict[str, Any]:
    """Training and refreshing the forecasts of meters measured."""
    from gridflock import bench

    return dict(bench.forecast_speed(series, seed))


def bench_coordination(ders: int, feeders: int, steps: int, fleet: str, seed: int) -> dict[str, Any]:
    """Price coordination measured, or an end that names what does not fit."""
    from gridflock import bench

    if fleet not in {"normal", "tight", "volatile", "batteries"}:
        raise stop(f"fleet: {fleet!r} (rule: normal, tight, volatile or batteries)")
    if ders < 40 * feeders:
        raise stop(f"ders: {ders} on {feeders} feeders (rule: at least 40 on each)")
    try:
        return dict(bench.coordination(ders, feeders, steps, fleet, seed))
    except ArithmeticError as error:
        raise stop(str(error), code=2) from error


def bench_schedule(seed: int) -> dict[str, Any]:
    """Schedules of stores measured, or an end that names what is missing."""
    from gridflock import bench

    try:
        return dict(bench.schedule(seed))
    except ImportError as error:
        raise stop(str(error)) from error


def bench_network_dispatch(
    feeder: str,
    root: Path | None,
    ders: int,
    seed: int,
    *,
    policy: str,
    reactive: bool,
    taps: bool,
    warm: bool,
    polish: int,
) -> dict[str, Any]:
    """A feeder's day planned and judged, or an end that names what is missing or not solved."""
    from gridflock import bench
    from gridflock.grid.build import FeederRejected
    from gridflock.runtime.feeder import collection

    if policy not in {"hard", "no_worse", "ignore"}:
        raise stop(f"policy: {policy!r} (rule: hard, no_worse or ignore)")
    root = root or collection(Path(feeder))
    options: dict[str, Any] = {
        "policy": policy, "reactive": reactive, "taps": taps, "warm": warm, "polish": polish,
    }  # fmt: skip
    try:
        answer: dict[str, Any] = plain(bench.network_dispatch(feeder, root, ders, seed, **options))
    except (ImportError, UnknownFeeder, FeederRejected, OSError) as error:
        raise stop(str(error)) from error
    except ArithmeticError as error:
        raise stop(str(error), code=2) from error
    return answer


def bench_feedback(feeder: str, root: Path | None, ders: int, seed: int) -> dict[str, Any]:
    """Disturbances held by feedback measured, or an end that names what is missing or not solved."""
    from gridflock import bench
    from gridflock.grid.build import FeederRejected
    from gridflock.runtime.feeder import collection

    try:
        return dict(bench.feedback(feeder, root or collection(Path(feeder)), ders, seed))
    except (ImportError, UnknownFeeder, FeederRejected, OSError) as error:
        raise stop(str(error)) from error
    except ArithmeticError as error:
        raise stop(str(error), code=2) from error


def clock_time(text: str) -> int:
    """Seconds after local midnight of ``HH:MM``."""
    hours, _, minutes = text.partition(":")
    if not (hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise stop(f"start: {text!r} is not a time of day (rule: HH:MM)")
    return int(hours) * 3_600 + int(minutes) * 60


def read_fleet(file: Path) -> RowList:
    """A registry file's rows, or an end with what is wrong with the file as a whole."""
    try:
        return read_rows(file)
    except FileRejected as error:
        fault = error.rejected
        place = f" line {fault.row}" if fault.row else ""
        raise stop(f"{fault.field}{place}: {fault.reason}") from error


def export_fleet(file: Path, world: Scenario) -> int:
    """A simulated fleet's registry as CSV, written whole or not at all."""
    rows = World(world).registry
    names = [attribute.name for attribute in REGISTRY]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: row[name] for name in names if name in row} for row in rows)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        if file.exists() and not file.is_file():  # a pipe or a terminal is written, never replaced
            file.write_text(text.getvalue(), "utf-8", newline="")
        else:
            temporary.write_text(text.getvalue(), "utf-8", newline="")
            temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise stop(f"file: {file}: {error.strerror} (rule: a file that can be written)") from error
    return len(rows)


def verify(data: Path) -> dict[str, Any]:
    """Walk a folder's ledger, whether or not somebody writes to it."""
    try:
        record = open_record(data, read_only=True)
    except RecordError as error:
        raise stop(str(error)) from error
    try:
        answer: dict[str, Any] = plain(record.verify())
    finally:
        record.close()
    return answer


def add_user(data: Path, name: str, role: str, groups: list[str]) -> str:
    """Make a user; the token."""
    try:
        return Users(data).add(name, Role[role.upper()], frozenset(groups))
    except KeyError as error:
        raise stop(f"role: {role!r} (rule: viewer, operator or admin)") from error
    except (ValueError, OSError) as error:
        raise stop(str(error)) from error


def user_names(data: Path) -> dict[str, str]:
    """Users and roles, or an end where the file cannot be understood."""
    try:
        return Users(data).names()
    except (ValueError, OSError) as error:
        raise stop(str(error)) from error


def remove_user(data: Path, name: str) -> None:
    """Remove a user, or an end if there is none."""
    try:
        found = Users(data).remove(name)
    except (ValueError, OSError) as error:
        raise stop(str(error)) from error
    if not found:
        raise stop(f"name: no user {name!r} in {data}")
