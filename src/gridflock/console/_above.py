"""A system above several running ones: ``gridflock above``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gridflock.console._screen import AsJson


def above(
    child: Annotated[list[str], typer.Option(help="NAME=URL of a running system; repeat.")],
    default: Annotated[list[str], typer.Option(help="NAME=LOW:HIGH kW while nothing is said, as agreed.")],
    token_file: Annotated[Path, typer.Option(help="Lines NAME=TOKEN; nobody else may read it.")],
    import_limit: Annotated[float, typer.Option(min=0.0, help="Most that all import together, kW.")],
    export_limit: Annotated[float, typer.Option(min=0.0, help="Most that all export together, kW.")],
    rating: Annotated[
        list[str] | None, typer.Option(help="NAME=LOW:HIGH kW it can come to at all; else the limits.")
    ] = None,
    reserve: Annotated[
        float, typer.Option(min=0.0, help="Of both limits kept back for what moves between two rounds, kW.")
    ] = 0.0,
    data: Annotated[Path, typer.Option(help="Data folder: the ledger.")] = Path("gridflock-above"),
    every: Annotated[float, typer.Option(min=1.0, max=600.0, help="Seconds between two rounds.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=0, help="End after so many; 0 = until Ctrl-C.")] = 0,
    skew: Annotated[int, typer.Option(min=1, max=300, help="By how much clocks may differ, s.")] = 5,
    follow_clock: Annotated[
        bool, typer.Option("--follow-clock", help="Take the time from those below: simulated worlds.")
    ] = False,
    name: Annotated[
        str, typer.Option(help="What a system above calls this one: it stands in the middle.")
    ] = "",
    default_kw: Annotated[
        str | None, typer.Option(help="LOW:HIGH kW of all below together while that one says nothing.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Where that one reaches it.")] = 8090,
    as_json: AsJson = False,
) -> None:
    """Stand above running systems: share a limit among them as leases, whoever is late, silent or dies.

    With --json one object a round, each on a line.
    """
    from gridflock.console import _above_life

    asked = _above_life.Asked(
        child,
        default,
        rating or [],
        token_file,
        (-import_limit, export_limit),
        reserve,
        data,
        every,
        skew,
        follow_clock,
        None if not name and default_kw is None else (name, default_kw or ""),
        port,
    )
    _above_life.live(_above_life.begun(asked), asked, rounds, as_json=as_json)
