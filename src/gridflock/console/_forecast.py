"""Forecasts tried on the past: ``gridflock forecast backtest``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from gridflock.console import _forecast_files
from gridflock.console._screen import AsJson, out, show, stop

_OVERLOAD = "feeder_overload"
app = typer.Typer(help="Forecasts of measured series, and how good they are.", no_args_is_help=True)
app.command()(_forecast_files.check)
app.command()(_forecast_files.run)
app.command()(_forecast_files.report)


@app.command()
def backtest(
    protocol: Annotated[str, typer.Option(help="Which rules: design.")] = "design",
    one: Annotated[list[str] | None, typer.Option("--set", help="Only this set; may be given again.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the measured series.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw how often overloads came as said here (.png, .svg, .pdf).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast measured series as if each moment were now, beside the naive baseline in the same run.

    CRPS, the share of truths in the 10–90 % band, and errors of the median, one object for each set; then
    homes whose forecasts agree with their total's (``homes_together``), and the chance of an overload within
    a day (``feeder_overload``).
    """
    from gridflock.bench import FORECAST_JOINT, FORECAST_SETS, forecast_joint, forecast_protocol

    if protocol != "design":
        raise stop(f"protocol: {protocol!r} (rule: design)")
    known = FORECAST_SETS + FORECAST_JOINT
    names = tuple(one or known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise stop(f"set: {unknown[0]!r} (rule: one of {', '.join(known)})")
    if plot is not None and _OVERLOAD not in names:
        raise stop(f"plot: no chances to draw (rule: --set {_OVERLOAD} among the sets)")
    found: dict[str, dict[str, Any]] = {}
    with Progress(console=Console(stderr=True)) as bar:
        for name in names:
            task = bar.add_task(name, total=1.0)
            try:
                score = forecast_protocol if name in FORECAST_SETS else forecast_joint
                found[name] = score(name, data, seed, _onto(bar, task))
            except FileNotFoundError as error:
                raise stop(f"data: {error}") from error
            bar.update(task, completed=1.0)
    if plot is not None:
        _draw(found[_OVERLOAD], plot)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    columns = ("set", "crps_ratio", "coverage80", "mae", "weather", "refit_days", "test_scored", "cpu_s")
    show({}, as_json=False, rows=[{name: row.get(name) for name in columns} for row in found.values()])
    out.print("[dim]mae in kW; crps_ratio against the baseline in the same run[/dim]")


def _draw(overload: dict[str, Any], target: Path) -> None:
    from gridflock.console._fan import draw_chances

    title = f"overload within 24 h: Brier {overload['brier']:.3f}, {overload['days']} days"
    try:
        draw_chances(overload["reliability"], title, target)
    except (OSError, ValueError) as error:
        raise stop(f"plot: {error}") from error


def _onto(bar: Progress, task: TaskID) -> Callable[[float], None]:
    """Show a share on a bar."""

    def progress(share: float) -> None:
        bar.update(task, completed=share)

    return progress
