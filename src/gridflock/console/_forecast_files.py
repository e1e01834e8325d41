"""Forecasts of series in files: ``gridflock forecast check | run | report``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from gridflock.console._screen import AsJson, out, show, stop
from gridflock.units import iso

if TYPE_CHECKING:
    from gridflock.forecast import Site
    from gridflock.runtime.series import SeriesAhead, SeriesFile

File = Annotated[
    Path, typer.Argument(help="CSV or Parquet: a column of stamps, every other column a series.")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", help="What series measure: load, net, solar, wind, price … or NAME=solar; again for more."
    ),
]
Latitude = Annotated[float | None, typer.Option("--lat", min=-90, max=90, help="Degrees north.")]
Longitude = Annotated[float | None, typer.Option("--lon", min=-180, max=180, help="Degrees east.")]
Zone = Annotated[str, typer.Option("--timezone", help="Clock of habits, and of stamps without offset.")]
Country = Annotated[str, typer.Option(help="ISO code for holidays, e.g. NL or US-CA.")]
Weather = Annotated[Path | None, typer.Option(help="A file with weather columns (temp_c, ghi_w_m2 …).")]
Perfect = Annotated[bool, typer.Option("--perfect-weather", help="The weather was measured, not issued.")]
Demand = Annotated[bool, typer.Option("--demand-positive", help="The file counts consumption as positive.")]


_NAMED = 3
_PRICES = {"_kwh": "per kWh", "_mwh": "per MWh"}
"""What the name of a price ends in, and its unit."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where series come from and how they are to be read, as asked for."""

    file: Path
    kind: list[str] | None
    lat: float | None
    lon: float | None
    timezone: str
    demand_positive: bool
    country: str = ""
    weather: Path | None = None
    perfect: bool = False

    def site(self) -> Site | None:
        """Where they stand, if that was told."""
        from gridflock.forecast import Site

        if (self.lat is None) != (self.lon is None):
            raise stop("lat, lon: one without the other (rule: both or none)")
        if self.lat is None or self.lon is None:
            return None
        return Site(self.lat, self.lon, self.timezone, self.country)


def check(
    file: File,
    kind: Kinds = None,
    lat: Latitude = None,
    lon: Longitude = None,
    timezone: Zone = "UTC",
    demand_positive: Demand = False,
    repaired: Annotated[Path | None, typer.Option(help="Write the mended series here, CSV, kW.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look for faults in measured series: clocks, signs, units, names, standstill, gaps, levels.

    Ends with 2 where something was found.
    """
    with _refusals():
        got = _read(_Source(file, kind, lat, lon, timezone, demand_positive))
        if repaired is not None:
            _write(repaired, got.history.grid.starts_s, got.history.series, got.history.value_kw)
    mended = {id(finding) for finding in got.done}
    findings = got.examination.findings
    if as_json:
        answer = {
            "series": list(got.history.series),
            "findings": [{**f.plain(), "mended": id(f) in mended} for f in findings],
            "left_out": list(got.examination.left_out),
            "rejected": [asdict(r) for r in got.rejected],
        }
        show(answer, as_json=True)
    else:
        rows = [
            {
                "series": f.series,
                "rule": str(f.rule),
                "from": iso(f.from_s) if f.until_s > f.from_s else "",
                "until": iso(f.until_s) if f.until_s > f.from_s else "",
                "seen": f.seen,
                "repair": f"{f.repair}{'' if id(f) in mended else ' (left)'}",
            }
            for f in findings
        ]
        show(
            {"steps": got.history.grid.n, "series": len(got.history.series), "faults": len(findings)},
            as_json=False,
            rows=rows,
        )
        for reason in got.examination.left_out:
            out.print(f"[dim]not looked at: {reason}[/dim]", highlight=False)
        _tell_rejected(got)
    if findings or got.rejected:
        raise typer.Exit(2)


def run(
    file: File,
    kind: Kinds = None,
    lat: Latitude = None,
    lon: Longitude = None,
    timezone: Zone = "UTC",
    country: Country = "",
    hours: Annotated[int, typer.Option(min=1, max=168, help="How far ahead.")] = 36,
    weather: Weather = None,
    perfect_weather: Perfect = False,
    demand_positive: Demand = False,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--out", help="Write all quantiles here, CSV, kW; prices as they stand.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the fans here (.png, .svg, .pdf).")] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast the series of a file from its last moment on: nine quantiles, each series by what did best.

    Data pass the gate first. Both methods forecast the last four weeks without looking ahead; the one that
    missed less speaks.
    """
    source = _Source(file, kind, lat, lon, timezone, demand_positive, country, weather, perfect_weather)
    got, ahead = _ahead(source, hours, seed)
    found = ahead.forecast
    with _refusals():
        if plot is not None:
            from gridflock.console._fan import draw_fans

            draw_fans(got.history, found, [_unit(got, name) for name in found.series], plot)
        if output is not None:
            names = [f"{name} {level:g}" for name in found.series for level in found.quantiles]
            _write(output, found.grid.starts_s, names, found.value_kw.reshape(-1, found.grid.n))
    if as_json:
        typer.echo(json.dumps(_whole(got, ahead)))
        return
    middle = len(found.quantiles) // 2
    rows = [
        {
            "series": name,
            "by": ahead.by[s],
            "unit": _unit(got, name),
            "mean": _rounded(got, name, found.value_kw[s, middle].mean()),
            "lowest 10 %": _rounded(got, name, found.value_kw[s, 0].min()),
            "highest 90 %": _rounded(got, name, found.value_kw[s, -1].max()),
        }
        for s, name in enumerate(found.series)
    ]
    facts = {"from": iso(found.grid.start_s), "hours": hours, "weather": ahead.weather}
    show({**facts, "faults": len(got.examination.findings)}, as_json=False, rows=rows)
    _tell_rejected(got)


def _whole(got: SeriesFile, ahead: SeriesAhead) -> dict[str, Any]:
    """All quantiles of all series, and what was found wrong with them."""
    found = ahead.forecast
    return {
        "known_at": iso(found.known_at_s),
        "weather": ahead.weather,
        "quantiles": found.quantiles.tolist(),
        "starts": [iso(t) for t in found.grid.starts_s.tolist()],
        "series": {
            name: {
                "by": ahead.by[s],
                "unit": _unit(got, name),
                _named(got, name, "value_kw"): _digits(got, name, found.value_kw[s]),
            }
            for s, name in enumerate(found.series)
        },
        "faults": [f.plain() for f in got.examination.findings],
    }


def _priced(got: SeriesFile, name: str) -> bool:
    return got.kinds[name] == "price"


def _unit(got: SeriesFile, name: str) -> str:
    """A price is told in what it stands in in the file, which its name may say."""
    if not _priced(got, name):
        return "kW"
    said = (unit for ending, unit in _PRICES.items() if name.lower().endswith(ending))
    return next(said, "as in the file")


def _named(got: SeriesFile, name: str, figure: str) -> str:
    """A figure's name with its unit: a price has no kW in it, its unit stands beside it."""
    stem = figure.removesuffix("_kw")
    if not _priced(got, name) or stem == figure:
        return figure
    return "price" if stem == "value" else f"{stem}_price"


def _digits(got: SeriesFile, name: str, value: NDArray[np.floating[Any]]) -> list[list[float]]:
    rounded: list[list[float]] = np.round(value, 6 if _priced(got, name) else 4).tolist()
    return rounded


def _rounded(got: SeriesFile, name: str, value: float) -> float:
    return round(float(value), 5 if _priced(got, name) else 2)


def report(
    file: File,
    kind: Kinds = None,
    lat: Latitude = None,
    lon: Longitude = None,
    timezone: Zone = "UTC",
    country: Country = "",
    hours: Annotated[int, typer.Option(min=1, max=168, help="How far ahead.")] = 36,
    days: Annotated[int, typer.Option(min=7, max=60, help="How many of the last days are marked.")] = 28,
    weather: Weather = None,
    perfect_weather: Perfect = False,
    demand_positive: Demand = False,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the reliability here (.png, .svg, .pdf).")] = None,
    as_json: AsJson = False,
) -> None:
    """Score card of the last days: every method on every series, champions, and what has changed."""
    from gridflock.forecast.card import alarms, standing

    source = _Source(file, kind, lat, lon, timezone, demand_positive, country, weather, perfect_weather)
    got, ahead = _ahead(source, hours, seed, days)
    if ahead.card is None:
        raise stop("file: fewer than three weeks: nothing can be marked", 2)
    rows = [_marks(got, asdict(row)) for row in standing(ahead.card, days)]
    found = [asdict(alarm) for alarm in alarms(ahead.card)]
    if plot is not None:
        from gridflock.console._fan import draw_reliability

        with _refusals():
            draw_reliability(ahead.forecast.quantiles, ahead.reliability(), plot)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "standing": _plain([_by_unit(got, row) for row in rows]),
                    "alarms": found,
                    "weather": ahead.weather,
                },
                indent=1,
            )
        )
        return
    show(
        {"days": len(ahead.card.days_s), "weather": ahead.weather, "alarms": len(found)},
        as_json=False,
        rows=[{name.removesuffix("_kw"): cell for name, cell in row.items()} for row in rows],
    )
    for alarm in found:
        out.print(
            f"[yellow]{alarm['series']}: {alarm['rule']} ({alarm['method']}, {alarm['value']:.2f})[/yellow]"
        )


def _marks(got: SeriesFile, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the card, rounded, with its unit."""
    digits = 6 if _priced(got, row["series"]) else 4
    plain = {name: round(cell, digits) if isinstance(cell, float) else cell for name, cell in row.items()}
    return {"series": plain.pop("series"), "unit": _unit(got, row["series"]), **plain}


def _by_unit(got: SeriesFile, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the card whose figures are named by what they are told in."""
    return {_named(got, row["series"], name): cell for name, cell in row.items()}


def _ahead(source: _Source, hours: int, seed: int, days: int = 28) -> tuple[SeriesFile, SeriesAhead]:
    from gridflock.forecast import Site
    from gridflock.runtime.series import series_ahead

    with _refusals():
        got, site = _read(source), source.site()
        if site is None and any(kind == "solar" for kind in got.kinds.values()):
            raise stop("lat, lon: solar series need a place (rule: --lat and --lon)")
        if not got.history.grid.n:
            told = [f"{r.field}: {r.reason}, {r.count} cells from line {r.row}" for r in got.rejected]
            told += [f"{f.series}: {f.rule}, {f.seen}" for f in got.examination.findings]
            raise stop(f"file: no step to forecast from; {'; '.join(told[:_NAMED])}")
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("forecast", total=1.0)
            ahead = series_ahead(
                got,
                # Without solar series nobody asks where the sun stands.
                site or Site(0.0, 0.0, source.timezone, source.country),
                hours=hours,
                days=days,
                seed=seed,
                progress=lambda share: bar.update(task, completed=share),
            )
            bar.update(task, completed=1.0)
    return got, ahead


def _read(source: _Source) -> SeriesFile:
    from gridflock.forecast.quality import Kind
    from gridflock.runtime.series import series_file

    kinds, otherwise = {}, Kind.LOAD
    for text in source.kind or ():
        name, _, said = text.rpartition("=")
        try:
            meant = Kind(said)
        except ValueError:
            raise stop(f"kind: {said!r} (rule: one of {', '.join(Kind)})") from None
        if name:
            kinds[name] = meant
        else:
            otherwise = meant
    return series_file(
        source.file,
        kinds,
        source.site(),
        otherwise=otherwise,
        timezone=source.timezone,
        demand_positive=source.demand_positive,
        weather=source.weather,
        weather_kind="perfect" if source.perfect else "issued",
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """Faults of files and options as one line and exit code 1."""
    from zoneinfo import ZoneInfoNotFoundError

    from gridflock.field.series import Unreadable

    try:
        yield
    except Unreadable as error:
        raise stop(str(error)) from error
    except ZoneInfoNotFoundError as error:
        raise stop(f"timezone: {error.args[0]} (rule: an IANA name)") from error
    except KeyError as error:
        raise stop(f"kind: no series {error.args[0]!r} in the file") from error
    except (OSError, ValueError) as error:
        raise stop(f"file: {error}") from error


def _tell_rejected(got: SeriesFile) -> None:
    for fault in got.rejected:
        out.print(
            f"[yellow]{fault.field}: {fault.reason}, {fault.count} cells from line {fault.row}[/yellow]"
        )


def _write(target: Path, t_s: Any, names: Any, value: Any) -> None:  # noqa: ANN401 - arrays of any kind
    """Rows of a step each: its start, and one column a name."""
    with target.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["time", *names])
        for k, start in enumerate(t_s.tolist()):
            writer.writerow([iso(start), *("" if np.isnan(x) else f"{x:.6g}" for x in value[:, k])])


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without NaN, which JSON has not."""
    return [{n: None if isinstance(x, float) and np.isnan(x) else x for n, x in row.items()} for row in rows]
