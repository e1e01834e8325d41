"""The plan and its reasons: ``gridflock plan``, ``gridflock explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridflock.console._goals import figure_of, goals_table, stated_goals
from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, out, show, stop

_REASONS = 12
_GAVE_KW = 0.1
_PICTURES = (".png", ".svg", ".pdf")


def plan(
    feeder: Annotated[
        str,
        typer.Argument(metavar="[FEEDER]", help="Packed feeder to plan a day of; else the running system."),
    ] = "",
    ders: Annotated[int, typer.Option(min=1, max=20_000, help="Of a planned day.")] = 1000,
    day: Annotated[str, typer.Option(help="Of a planned day, YYYY-MM-DD.")] = "2026-07-15",
    seed: Annotated[int, typer.Option(min=0, help="Of every draw of a planned day.")] = 1,
    import_limit: Annotated[
        float | None, typer.Option("--import-limit", min=0.0, help="Of a planned day, kW at the head.")
    ] = None,
    violation_rate: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Of a planned day: share of futures that may break it.")
    ] = 0.0,
    goals: Annotated[
        Path | None, typer.Option("--goals", help="Of a planned day: JSON file of what is wanted of it.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", help="Draw it: a .png, .svg or .pdf file.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The plan in force and why it is so; or, of a packed feeder, a day planned ahead.

    Net load and price, the limits it pays for, the AC verdict of every step, and what clashes in it. A day
    planned ahead shows gap and violations while it works; exit code 2 where limits stay broken, goals
    among them.
    """
    if picture is not None and (picture.suffix not in _PICTURES or not picture.parent.is_dir()):
        raise stop(f"plot: {picture} (rule: a .png, .svg or .pdf file in a folder that exists)")
    asked = (feeder, ders, day, seed, import_limit, violation_rate, goals)
    answer = _ahead(*asked) if feeder else Remote(url, token).ask("GET", "/api/plan")
    if picture is not None:
        try:
            draw(answer, picture)
        except (OSError, ValueError) as error:
            raise stop(f"plot: {error} (rule: a .png, .svg or .pdf file that can be written)") from error
    if as_json:
        show(answer, as_json)
    else:
        tell(answer)
    for fault in answer["rejected"]:
        typer.echo(f"{fault['field']}: {fault['reason']} (rule: {fault['rule']})", err=True)
    if feeder and answer["rejected"]:
        raise typer.Exit(1)
    if feeder and _broken(answer):
        raise typer.Exit(2)


def _broken(answer: dict[str, Any]) -> bool:
    """Whether any limit stays broken: in AC, at the head, of a group or of a store."""
    verdict = answer["in_ac"]
    in_ac = verdict is not None and verdict["voltages"] + verdict["currents"] + verdict["unsolved"] > 0
    return in_ac or any(reason["slack_kw"] > _GAVE_KW for reason in answer["reasons"])


def _ahead(
    feeder: str,
    ders: int,
    day: str,
    seed: int,
    import_limit: float | None,
    violation_rate: float,
    goals: Path | None,
) -> dict[str, Any]:
    """A day's plan, its rounds told on the error stream while they come."""
    from gridflock.console import _offline
    from gridflock.plan.coordination import Status
    from gridflock.plan.network import Round
    from gridflock.runtime import Settings, plain, plan_ahead

    limit = float("inf") if import_limit is None else import_limit
    wanted = None if goals is None else stated_goals(goals)
    settings = Settings(import_limit_kw=limit, violation_rate=violation_rate, goals=wanted)
    scenario = _offline.scenario(feeder, ders, day, seed)
    with Console(stderr=True).status(f"{feeder}: forecast and flexibility of {ders} resources") as bar:

        def watch(now: Status | Round) -> None:
            if isinstance(now, Status):
                gap = f"{100 * now.gap_of_cost:.2f} %" if now.cost < float("inf") else "not yet known"
                bar.update(f"prices, round {now.answers}: cost {figure_of(now.cost)}, gap {gap}")
            else:
                bar.update(
                    f"AC: {now.voltages} voltages and {now.currents} currents beyond limits "
                    f"in {now.steps} steps, worst {now.worst_pu:.4f} pu"
                )

        found: dict[str, Any] = plain(plan_ahead(scenario, settings, watch).plan)
    return found


def explain(
    name: Annotated[str, typer.Argument(metavar="RESOURCE", help="Resource or group id.")],
    at: Annotated[str, typer.Argument(metavar="[TIME]", help="ISO 8601; now where left out.")] = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Why a resource or group is, or was, to do what it does: its order, limits and prices, alternatives."""
    answer = Remote(url, token).ask("GET", "/api/explain", params={"name": name, "at": at})
    if as_json:
        show(answer, as_json)
        return
    out.print(escape(answer["text"]), highlight=False)
    for group in answer["groups"]:
        table = Table("price", "money/kWh", title=escape(group["group"]), header_style="bold")
        for part in group["parts"]:
            table.add_row(escape(part["name"]), f"{part['price']:+.4f}")
        table.add_row("together", f"{group['price']:+.4f}", style="bold")
        out.print(table)


def tell(answer: dict[str, Any]) -> None:
    """A plan on the screen."""
    cost, peak_kw = figure_of(answer["cost"]), figure_of(answer["peak_kw"])
    out.print(f"plan of {answer['made_at']}, cost {cost}, peak {peak_kw} kW")
    if answer["penalty"]:
        out.print(
            f"limits that give way are charged {figure_of(answer['penalty'])} beside it, which is no money"
        )
    _proofs(answer)
    if answer["goals"]:
        out.print(goals_table(answer["goals"]))
    steps = Table(header_style="bold")
    for name in ("from", "net kW", "unasked kW", "price", "tariff"):
        steps.add_column(name, justify="left" if name == "from" else "right")
    names = ("net_kw", "unasked_kw", "price", "tariff")
    for start, *values in zip(answer["t"][:-1], *(answer[name] for name in names), strict=True):
        steps.add_row(start, *(figure_of(value) for value in values))
    out.print(steps)
    why = Table("limit", "from", "until", "price", "gave kW", header_style="bold")
    for reason in answer["reasons"][:_REASONS]:
        gave = "" if reason["slack_kw"] == 0 else figure_of(reason["slack_kw"])
        why.add_row(escape(reason["row"]), reason["start"], reason["until"], figure_of(reason["price"]), gave)
    out.print(why)
    if len(answer["reasons"]) > _REASONS:
        out.print(f"and {len(answer['reasons']) - _REASONS} more; --json has all")
    for conflict in answer["conflicts"]:
        out.print(f"[bold]conflict[/bold] {escape(conflict['text'])}")


def _proofs(answer: dict[str, Any]) -> None:
    """How good the plan is, what AC says of it, and how sure its limits are."""
    if answer["gap"] is not None:
        out.print(f"proven: no plan is better by more than {figure_of(answer['gap'])}")
    if answer["in_ac"] is not None:
        out.print(_in_ac(answer["in_ac"]))
    if answer["caution"] is not None:
        caution = answer["caution"]
        said = "met" if caution["met"] else "out of reach: " + "; ".join(caution["named"])
        out.print(
            f"at most {100 * caution['target']:.3g} % of futures may break a limit: {said}", highlight=False
        )


def _in_ac(verdict: dict[str, Any]) -> str:
    """What AC says, in a line."""
    before = f"{verdict['voltages_before']} voltages and {verdict['currents_before']} currents beyond limits"
    if verdict["unsolved"]:
        return f"in AC: {verdict['unsolved']} of {verdict['steps']} steps have no solution at all"
    if not verdict["voltages"] + verdict["currents"]:
        return f"in AC: every limit holds in all {verdict['steps']} steps ({before} before it was held)"
    worst = f"{verdict['worst_pu']:.4f} pu, {100 * verdict['worst_over']:.2f} % of a current"
    told = "\n".join(verdict["broken"][:5])
    now = f"{verdict['voltages']} voltages and {verdict['currents']} currents"
    return f"in AC: {now} beyond limits (worst {worst}); before: {before}\n{told}"


def draw(answer: dict[str, Any], target: Path) -> None:
    """Net load with and without orders above, price and tariff below.

    Raises:
        OSError: the file cannot be written.
        ValueError: a format that matplotlib does not know.
    """
    times = date2num([_moment(t) for t in answer["t"]])
    figure = Figure(figsize=(10, 6), layout="constrained")
    power, money = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, label, style in (("unasked_kw", "unasked", "--"), ("net_kw", "planned", "-")):
        power.stairs([_or_nan(v) for v in answer[name]], times, baseline=None, ls=style, label=label)
    power.axhline(0.0, lw=0.6, color="#888888")
    power.set_ylabel("net injection, kW")
    power.legend(frameon=False)
    for name, label, style in (("tariff", "tariff", "--"), ("price", "price at the head", "-")):
        money.stairs([_or_nan(v) for v in answer[name]], times, baseline=None, ls=style, label=label)
    money.set_ylabel("money per kWh")
    money.legend(frameon=False)
    money.xaxis.set_major_formatter(ConciseDateFormatter(money.xaxis.get_major_locator()))
    power.set_title(f"plan of {answer['made_at']}, peak {figure_of(answer['peak_kw'])} kW")
    figure.savefig(target, dpi=140)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _moment(text: str) -> Any:  # noqa: ANN401 - numpy's own moments, which matplotlib takes
    import numpy as np

    return np.datetime64(text.removesuffix("Z"))
