"""The past lived again, and a second policy beside the present: ``gridflock replay``, ``shadow``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show, stop

_PICTURES = (".png", ".svg", ".pdf")
shadow = typer.Typer(help="A second policy beside the one in force; it sends nothing.", no_args_is_help=True)
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="TOML file of settings in which the other policy differs.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE of one, such as policy.deadband_kw=5; repeat.")
]


def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Data folder, in use or not.")],
    start: Annotated[
        str, typer.Option("--from", help="First moment: ISO 8601, or HH:MM on the feeder's day.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Moment before which it ends.")] = "",
    policy: PolicyFile = None,
    changes: Changes = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw both policies' head: a .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Live a span of the ledger again: the same policy must give the same bytes.

    With other settings, a second policy decides beside it and the difference is told. Exit code 2 where
    what came now is not what the ledger has.
    """
    from gridflock.record import RecordError
    from gridflock.runtime import NotReplayable, RequestRejected, plain
    from gridflock.runtime import replay as lived_again

    if picture is not None and (picture.suffix not in _PICTURES or not picture.parent.is_dir()):
        raise stop(f"plot: {picture} (rule: a .png, .svg or .pdf file in a folder that exists)")
    differs = _changes(policy, changes)
    if picture is not None and not differs:
        raise stop("plot: without another policy there is one curve only (rule: with --policy or --set)")
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("living again", total=1.0)

            def progress(share: float) -> None:
                bar.update(task, completed=share)

            found = lived_again(folder, start=start, end=end, changes=differs or None, progress=progress)
    except RequestRejected as error:
        faults = (f"{fault.field}: {fault.reason} (rule: {fault.rule})" for fault in error.faults)
        raise stop("\n".join(faults)) from error
    except (NotReplayable, RecordError) as error:
        raise stop(str(error)) from error
    answer: dict[str, Any] = plain(found)
    if picture is not None:
        try:
            _draw(answer["difference"], picture)
        except (OSError, ValueError) as error:
            raise stop(f"plot: {error} (rule: a .png, .svg or .pdf file that can be written)") from error
    _tell(answer, as_json=as_json)
    if not answer["identical"]:
        raise typer.Exit(2)


@shadow.command("show")
def shadow_show(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """What the second policy would have done differently so far."""
    _tell(Remote(url, token).ask("GET", "/api/shadow"), as_json=as_json)


@shadow.command("start")
def shadow_start(
    policy: PolicyFile = None,
    changes: Changes = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Let another policy decide beside the one in force."""
    body = {"changes": _changes(policy, changes)}
    _tell(Remote(url, token).ask("POST", "/api/shadow", body=body), as_json=as_json)


@shadow.command("stop")
def shadow_stop(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Take the second policy away; the difference is kept in the ledger."""
    _tell(Remote(url, token).ask("DELETE", "/api/shadow"), as_json=as_json)


def _changes(file: Path | None, pairs: list[str] | None) -> dict[str, Any]:
    """Settings of a file and of the command line, which has the last word."""
    found: dict[str, Any] = {}
    if file is not None:
        try:
            found = tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise stop(f"policy: {file}: {error} (rule: a TOML file of settings)") from error
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        try:
            value = json.loads(text.strip())
        except ValueError:
            value = text.strip()
        if not (equals and name.strip()):
            raise stop(f"set: {pair!r} (rule: NAME=VALUE)")
        found[name.strip()] = value
    return found


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    """Plain lines, then the difference as tables."""
    difference = answer["difference"]
    if as_json:
        show(answer, as_json)
        return
    show({name: value for name, value in answer.items() if name != "difference"}, as_json)
    if difference is None:
        return
    screen = Console()
    figures = Table("", "in force", "other", "difference", header_style="bold")
    for row in difference["figures"]:
        live, other = row["live"], row["other"]
        gap = "" if live is None or other is None else f"{other - live:+,.3f}"
        figures.add_row(row["figure"], *("" if x is None else f"{x:,.3f}" for x in (live, other)), gap)
    screen.print(figures)
    kinds = [row for row in difference["kinds"] if row["asked_kwh"] or row["other_asked_kwh"]]
    show({}, as_json=False, rows=kinds)


def _draw(difference: dict[str, Any], file: Path) -> None:
    """Net injection at the head under both policies."""
    from matplotlib.dates import ConciseDateFormatter, datestr2num

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    t = datestr2num(difference["t"])
    axes.plot(t, difference["head_kw"], label="in force")
    axes.plot(t, difference["other_head_kw"], label="other policy, as reckoned")
    axes.set_ylabel("net injection at the head, kW")
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.legend(frameon=False)
    figure.savefig(file)
