"""``gridflock bench foresight``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gridflock.console._screen import AsJson, show


def bench_foresight(
    ders: Annotated[int, typer.Option(min=20, max=5_000, help="Simulated resources.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the world.")] = 1,
    weeks: Annotated[int, typer.Option(min=4, max=9, help="Of meter data before the day.")] = 8,
    tick: Annotated[int, typer.Option(min=60, max=900, help="Seconds between two ticks.")] = 300,
    hours: Annotated[int, typer.Option(min=1, max=24, help="How much of the day is lived.")] = 24,
    as_json: AsJson = False,
) -> None:
    """A simulated day planned by what is learnt, and by habits alone: misses, and what became of it."""
    from gridflock.bench._foresight import foresight

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("two days", total=1.0)
        found = foresight(ders, seed, weeks, tick, hours, lambda share: bar.update(task, completed=share))
    show(dict(found), as_json)
