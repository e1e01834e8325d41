"""Commands on feeder files: ``gridflock feeder …``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

app = typer.Typer(help="Feeder files, and the running feeder's map.", no_args_is_help=True)
File = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="OpenDSS master .dss, CIM .xml, document .json, saved .gfnet, or ieee123."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root", help="Folder a .dss master may not lead out of; default: the one that holds its folder."
    ),
]
Url = Annotated[str | None, typer.Option("--url", help="Server; default GRIDFLOCK_URL or the local one.")]
Token = Annotated[str | None, typer.Option("--token", help="Bearer token; default GRIDFLOCK_TOKEN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Level = Annotated[
    float, typer.Option("--load", min=0.0, max=1000.0, help="Multiplier of every load that follows one.")
]
Controls = Annotated[
    bool, typer.Option("--controls/--fixed", help="Regulators and capacitors act, or stay as written.")
]
READINGS = (
    "CSV: quantity (voltage_pu, voltage_v, port_voltage_v, port_kw, port_kvar, branch_kw, branch_kvar, "
    "branch_a), element, phase, value (empty: missing), sigma (same unit, or 5%), t, id."
)
PICTURES = frozenset({".png", ".svg", ".pdf"})
Answer = TypeVar("Answer")


@app.command("map")
def map_(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """The running feeder's map: buses, branches, sections."""
    from gridflock.console._remote import Remote

    answer = Remote(url, token).ask("GET", "/api/feeder")
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    else:
        typer.echo(f"{answer['name']}: {len(answer['buses'])} buses, {len(answer['branches'])} branches")
        _table(answer["buses"], as_json, "no bus")


@app.command("import")
def import_(
    file: File,
    target: Annotated[Path, typer.Argument(help="File to write, .gfnet.")],
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Read a feeder and save it as TARGET: from then on neither OpenDSS nor lxml is needed.

    Load shapes of an OpenDSS master stay with the master.
    """
    from gridflock.runtime import feeder

    _check_ending(target, {".gfnet"})
    network = _or_stop(lambda: feeder.read(file, root))
    _or_stop(lambda: feeder.save(network, target))
    size = {"buses": len(network.buses), "nodes": network.n}
    _tell({"file": str(target), **size, "notes": list(network.notes)}, as_json)


@app.command()
def info(file: File, root: Root = None, as_json: AsJson = False) -> None:
    """What a feeder is made of, and what its file says that the model leaves out."""
    from gridflock.runtime import feeder

    _tell(_plain(feeder.info(_or_stop(lambda: feeder.read(file, root)))), as_json)


@app.command()
def check(
    file: File,
    root: Root = None,
    widen: Annotated[
        bool,
        typer.Option("--widen", help="Hold load laws between 0.7 and 1.3 pu on both sides: some jump."),
    ] = False,
    as_written: Annotated[
        bool, typer.Option("--as-written", help="Taps as the file has them, not where controls settle.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Solve with ours and with OpenDSS at fixed taps: the largest voltage difference, node and phase."""
    from gridflock.runtime import feeder

    found = _or_stop(lambda: feeder.check(file, root, widen=widen, as_written=as_written))
    _tell(_plain(found), as_json)
    raise typer.Exit(0 if found.agrees else 2)


@app.command()
def solve(
    file: File,
    root: Root = None,
    load: Level = 1.0,
    controls: Controls = False,
    out: Annotated[
        Path | None, typer.Option(help="Write every node's voltage as CSV, or its profile as .png/.svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One operating point: head power, losses, extreme voltages, broken limits."""
    from gridflock.runtime import feeder

    _check_ending(out, {".csv", *PICTURES})
    found, flow = feeder.solve_once(_or_stop(lambda: feeder.read(file, root)), load, controls=controls)
    if out is not None:
        _write_flow(flow, out)
    _tell(_plain(found), as_json)
    raise typer.Exit(0 if found.converged else 2)


@app.command()
def violations(
    file: File,
    root: Root = None,
    load: Level = 1.0,
    controls: Controls = False,
    v_low: Annotated[float, typer.Option(help="Lowest voltage, pu.")] = 0.95,
    v_high: Annotated[float, typer.Option(help="Highest voltage, pu.")] = 1.05,
    unbalance: Annotated[float, typer.Option(help="Largest voltage unbalance, a share of 1.")] = 0.03,
    reverse: Annotated[
        list[str] | None,
        typer.Option(help="BRANCH or BRANCH=KW: power that may flow backwards per phase; repeat."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every broken limit of an operating point: kind, element, phase, value, limit, margin."""
    from gridflock.grid.limits import Limits
    from gridflock.runtime import feeder

    network = _or_stop(lambda: feeder.read(file, root))
    limits = Limits(v_low, v_high, unbalance, reverse_kw=_reverse(reverse))
    faults = [f"{r.field}: {', '.join(r.ids)}: {r.reason}" for r in limits.rejected(network)]
    if faults:
        raise _stop(faults)
    solved, flow = feeder.solve_once(network, load, controls=controls)
    if not solved.converged:
        _stop([f"{file}: no solution at this load (residual {solved.residual_kva} kVA)"])
        raise typer.Exit(2)
    _table([_plain(row) for row in feeder.broken_limits(flow, limits)], as_json, "no limit is broken")


@app.command()
def series(
    file: File,
    root: Root = None,
    hours: Annotated[float, typer.Option(min=0.01, max=8784, help="How long.")] = 24.0,
    step_s: Annotated[int, typer.Option("--step", min=1, max=86_400, help="Seconds between steps.")] = 900,
    load: Level = 1.0,
    controls: Controls = True,
    shape: Annotated[
        Path | None,
        typer.Option(
            help="CSV of multipliers, a line a step, repeated: one column for all, or one per load id."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every step as CSV, or a plot as .png/.svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a feeder through time: regulators and capacitors act, every step in lanes."""
    from gridflock.runtime import feeder

    _check_ending(out, {".csv", *PICTURES})
    network, shapes = _or_stop(lambda: feeder.read_with_shapes(file, root))
    with _progress(as_json) as progress:
        found, steps = _or_stop(
            lambda: feeder.course(
                network,
                shapes,
                hours=hours,
                step_s=step_s,
                load_scale=load,
                controls=controls,
                shape_file=shape,
                progress=progress,
            )
        )
    if out is not None:
        _write_series(network, steps, step_s, out)
    _tell(_plain(found), as_json)
    raise typer.Exit(0 if found.converged == found.steps else 2)


@app.command()
def estimate(
    file: File,
    readings: Annotated[
        Path,
        typer.Option(help=READINGS),
    ],
    root: Root = None,
    now: Annotated[str, typer.Option(help="The present, ISO 8601; default the newest reading's time.")] = "",
    load: Level = 1.0,
    share: Annotated[
        float, typer.Option(min=0.01, max=10.0, help="Standard deviation of unread loads, as a share.")
    ] = 0.5,
    out: Annotated[Path | None, typer.Option(help="Write every node as CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """The most likely state behind late, missing and wrong readings, and how sure it is."""
    from gridflock.runtime import feeder

    _check_ending(out, {".csv"})
    network = _or_stop(lambda: feeder.read(file, root))
    found, state = _or_stop(lambda: feeder.estimate(network, readings, now, load, share))
    if out is not None:
        _write_rows(out, ["bus", "phase", "v_pu", "sigma_pu", "rests_on"], feeder.node_rows(state))
    _tell(_plain(found), as_json)
    raise typer.Exit(0 if found.converged else 2)


def _check_ending(out: Path | None, endings: set[str]) -> None:
    """Before anything is read or reckoned: whether what is to be written can be."""
    if out is not None and out.suffix.lower() not in endings:
        raise _stop([f"{out}: cannot be written (rule: a name that ends in {', '.join(sorted(endings))})"])


def _reverse(given: list[str] | None) -> dict[str, float] | None:
    if given is None:
        return None
    found = {}
    for words in given:
        name, _, limit = words.partition("=")
        try:
            found[name] = float(limit or 0.1)
        except ValueError as error:
            raise _stop([f"reverse: {words!r} (rule: BRANCH or BRANCH=KW)"]) from error
    return found


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[int, int], None]]:  # noqa: FBT001 a flag passed on
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=as_json, transient=True) as bar:
        task = bar.add_task("steps", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _write_series(network: Any, steps: Any, step_s: int, out: Path) -> None:  # noqa: ANN401 the grid is loaded only by the commands that need it
    from gridflock.console import _profile

    if out.suffix.lower() != ".csv":
        _or_file(out, lambda: _profile.draw_series(steps, step_s, out))
        return
    head = ["step", "t_s", "converged", "head_kw", "head_kvar", "v_min_pu", "v_max_pu", "control_rounds"]
    head += [*network.regulators.ids, *network.capacitors.ids]
    _write_rows(out, head, _profile.series_rows(steps, step_s))


def _write_rows(out: Path, head: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    def write() -> None:
        with out.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(head)
            writer.writerows(rows)

    _or_file(out, write)


def _or_file(out: Path, action: Callable[[], None]) -> None:
    try:
        action()
    except (OSError, ValueError) as error:
        raise _stop([f"out: {out}: {error}"]) from error


def _write_flow(flow: Any, out: Path) -> None:  # noqa: ANN401 the grid is loaded only by the commands that need it
    from gridflock.console import _profile

    if out.suffix.lower() == ".csv":
        _write_rows(out, ["bus", "phase", "v_pu", "v_v", "angle_deg"], _profile.rows(flow))
    else:
        _or_file(out, lambda: _profile.draw(flow, out))


def _or_stop(action: Callable[[], Answer]) -> Answer:
    """The action's value, or an end that tells every fault of the file."""
    from gridflock.runtime import feeder

    try:
        return action()
    except feeder.FeederUnreadable as error:
        raise _stop(error.lines) from error


def _stop(lines: list[str]) -> typer.Exit:
    for line in lines:
        typer.echo(line, err=True)
    return typer.Exit(1)


def _plain(value: object) -> Any:  # noqa: ANN401 JSON is any of its types
    from gridflock.runtime import plain

    return plain(value)


def _tell(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 a flag passed on
    """JSON, or a line per name; empty lists and mappings are left out of the lines."""
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
        return
    width = max(map(len, answer))
    for name, value in answer.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())  # noqa: PLW2901 shown as text
        items = value if isinstance(value, list) else [value]
        if items and items != [""]:
            for k, item in enumerate(items):
                typer.echo(f"{name if k == 0 else '':>{width}}  {item}")


def _table(rows: list[dict[str, Any]], as_json: bool, empty: str) -> None:  # noqa: FBT001 a flag passed on
    from rich.console import Console
    from rich.table import Table

    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        typer.echo(empty)
        return
    table = Table(header_style="bold")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
