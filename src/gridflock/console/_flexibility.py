"""What a group will be able to do, and how sure that is: ``gridflock flexibility``, and its bench."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show


def flexibility(
    group: Annotated[str, typer.Argument(help="Group or resource id.")] = "all",
    hours: Annotated[int, typer.Option(min=1, max=24, help="How far ahead.")] = 6,
    notice: Annotated[int, typer.Option(min=1, max=86_400, help="Called so long before, s.")] = 900,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """How far a group will be able to move its power up and down, for how long, and what it has to make good.

    Each cell tells what is exceeded in nine of ten cases, in half of them, and in one, kW.
    """
    params = {"group": group, "hours": hours, "notice_s": notice}
    answer = Remote(url, token).ask("GET", "/api/flexibility", params=params)
    rows = [
        {
            "from": moment,
            **{
                f"{way} {run['run_s'] // 60} min": " · ".join(
                    f"{run[way]['change_kw'][level][k]:.0f}" for level in ("p10", "p50", "p90")
                )
                for run in answer["runs"]
                for way in ("up", "down")
            },
        }
        for k, moment in enumerate(answer["t"])
    ]
    facts = {name: answer[name] for name in ("group", "known_at", "notice_s", "paths", "by", "days")}
    show(answer if as_json else facts, as_json, rows=rows)


def bench_flexibility_forecast(
    ders: Annotated[int, typer.Option(min=20, max=5_000, help="Simulated resources.")] = 150,
    days: Annotated[int, typer.Option(min=2, max=60, help="Simulated days; the later half counts.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Flexibility forecast for a simulated fleet, against what it could have delivered when the time came."""
    from gridflock import bench

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("days", total=1.0)
        found = bench.flexibility_forecast(ders, days, seed, lambda share: bar.update(task, completed=share))
    show(dict(found), as_json)
