"""The command line: the façade's verbs, and the commands that start and check things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gridflock.console._above import above
from gridflock.console._devices import (
    NotifyHosts,
    NotifyLab,
    Pin,
    Pins,
    PublishesFile,
    Registration,
    ServerPki,
    ServerPort,
    TrialStorage,
    bench_ieee2030_5,
    serves,
)
from gridflock.console._devices import app as devices_app
from gridflock.console._doctor import doctor
from gridflock.console._feeder import app as feeder_app
from gridflock.console._fleet import app as fleet_app
from gridflock.console._flexibility import bench_flexibility_forecast, flexibility
from gridflock.console._forecast import app as forecast_app
from gridflock.console._foresight import card, emerging
from gridflock.console._foresight_bench import bench_foresight
from gridflock.console._goals import goals, pursue
from gridflock.console._groups import app as group_app
from gridflock.console._groups import claim, claims, release
from gridflock.console._guard import app as guard_app
from gridflock.console._outlook import outlook
from gridflock.console._peer import direct, powers, standing
from gridflock.console._pki import app as pki_app
from gridflock.console._plan import explain, plan
from gridflock.console._publish import publish
from gridflock.console._remote import Remote
from gridflock.console._replay import replay
from gridflock.console._replay import shadow as shadow_app
from gridflock.console._screen import AsJson, Token, Url, show
from gridflock.console._upward import (
    AboveGroups,
    AboveMembers,
    AboveName,
    AbovePin,
    AbovePins,
    AboveServer,
    offer_of,
)
from gridflock.console._watch import delivery, watch

app = typer.Typer(
    help="Gridflock: an open, grid-aware DERMS. Positive power is injection into the grid.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
users = typer.Typer(help="Named local users of a data folder.", no_args_is_help=True)
audit = typer.Typer(help="The ledger's hash chain.", no_args_is_help=True)
bench = typer.Typer(help="Measured against rivals in the same run.", no_args_is_help=True)
app.add_typer(feeder_app, name="feeder")
app.add_typer(users, name="users")
app.add_typer(bench, name="bench")
app.add_typer(audit, name="audit")
app.add_typer(devices_app, name="devices")
app.add_typer(fleet_app, name="fleet")
app.add_typer(forecast_app, name="forecast")
app.add_typer(group_app, name="group")
app.add_typer(guard_app, name="guard")
app.add_typer(pki_app, name="pki")
app.add_typer(shadow_app, name="shadow")
app.command()(replay)
app.command()(doctor)
app.command()(plan)
app.command()(card)
app.command()(emerging)
app.command()(flexibility)
app.command()(outlook)
app.command()(publish)
bench.command("flexibility-forecast")(bench_flexibility_forecast)
bench.command("foresight")(bench_foresight)
bench.command("2030.5")(bench_ieee2030_5)
app.command()(goals)
app.command()(pursue)
app.command()(explain)
app.command()(delivery)
app.command()(watch)
app.command()(above)
app.command()(standing)
app.command()(direct)
for command in (claims, claim, release):
    app.command()(command)
Data = Annotated[Path, typer.Option("--data", help="Data folder: ledger, history, users.")]
Feeder = Annotated[str, typer.Option("--feeder", help="Packed feeder.")]
Ders = Annotated[int, typer.Option("--ders", min=1, max=20_000, help="How many DERs.")]
DayText = Annotated[str, typer.Option("--day", help="Local calendar day, YYYY-MM-DD.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")]
Feedback = Annotated[
    bool, typer.Option("--feedback", help="Correct orders by measured voltages, in ticks of 10 s at most.")
]
DefaultKw = Annotated[
    str | None, typer.Option(help="LOW:HIGH kW at the head while a system above says nothing.")
]
Weeks = Annotated[int, typer.Option(min=1, max=26, help="Of meter data before the day, to learn from.")]


# ---- starting things -----------------------------------------------------------------------------


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Keep the data here; default a temporary folder.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8080,
    speed: Annotated[float, typer.Option(min=0.0, help="Virtual seconds per second; 0 = full speed.")] = 60.0,
    for_s: Annotated[
        float | None, typer.Option("--for", help="Stop by itself after so many seconds.")
    ] = None,
    ders: Ders = 2000,
    seed: Seed = 1,
    start: Annotated[str, typer.Option(help="Local time of day to join in, HH:MM.")] = "15:00",
    browser: Annotated[bool, typer.Option(help="Open the console in the browser.")] = False,
    spoken: Annotated[
        int, typer.Option(min=0, max=1_000, help="DERs that speak IEEE 2030.5 over TLS by themselves.")
    ] = 50,
) -> None:
    """A live day on the simulated IEEE 123-bus feeder, with its console."""
    from gridflock.console import _serve

    _serve.demo(data, port, speed, for_s, ders, seed, start, browser=browser, spoken=spoken)


@app.command()
def run(
    data: Data = Path("gridflock-data"),
    feeder: Feeder = "ieee123",
    ders: Ders = 2000,
    day: DayText = "2026-07-15",
    seed: Seed = 1,
    fleet_file: Annotated[Path | None, typer.Option("--fleet", help="Registry the system is told.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8080,
    tick: Annotated[int, typer.Option(min=1, max=300, help="Fast tempo, s.")] = 4,
    speed: Annotated[float, typer.Option(min=0.0, help="Virtual seconds per second.")] = 1.0,
    goals_file: Annotated[
        Path | None, typer.Option("--goals", help="JSON file of what is wanted of the plans.")
    ] = None,
    guard: Annotated[Path | None, typer.Option("--guard", help="TOML file of the guard's limits.")] = None,
    name: Annotated[str, typer.Option(help="What a system above calls this one.")] = "",
    default_kw: DefaultKw = None,
    feedback: Feedback = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="See everything, order nothing.")] = False,
    weather: Annotated[
        str, typer.Option(help="none, a table, a folder of them, or a service (.toml); else the world's own.")
    ] = "",
    weeks: Weeks = 1,
    ieee2030_5: ServerPort = None,
    pki: ServerPki = None,
    pin: Pin = 111_115,
    pins: Pins = None,
    registration: Registration = "closed",
    notify_hosts: NotifyHosts = "",
    notify_lab: NotifyLab = False,
    csip_aus_trial_storage: TrialStorage = False,
    publishes: PublishesFile = None,
    above_2030_5: AboveServer = "",
    above_as: AboveName = "",
    group: AboveGroups = None,
    members: AboveMembers = False,
    above_pin: AbovePin = None,
    above_pins: AbovePins = None,
) -> None:
    """Run (or resume) a system in a data folder against its simulated world."""
    from gridflock.console import _offline, _serve

    scenario = _offline.scenario(feeder, ders, day, seed)
    served = serves(
        ieee2030_5, pki, pin, registration, pins, notify_hosts, notify_lab=notify_lab,
        trial_storage=csip_aus_trial_storage, publishes=publishes,
    )  # fmt: skip
    _serve.run(
        data, scenario, fleet_file, port, tick, speed,
        managed=not watch_only, feedback=feedback, goals=goals_file, guard=guard,
        border=(name, None if default_kw is None else powers(default_kw, "default-kw")),
        weather=weather, weeks=weeks, serves=served,
        offer=offer_of(above_2030_5, pki, above_as, group, above_pin, above_pins, members=members),
    )  # fmt: skip


@app.command()
def simulate(
    feeder: Annotated[str, typer.Argument(help="Packed feeder.")] = "ieee123",
    ders: Ders = 2000,
    day: DayText = "2026-07-15",
    seed: Seed = 1,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of report.html and report.json.")] = Path(
        "out"
    ),
    weeks: Weeks = 1,
    as_json: AsJson = False,
) -> None:
    """Live a day twice, unmanaged and managed, and say what management was worth."""
    from gridflock.console import _offline

    _offline.study(_offline.scenario(feeder, ders, day, seed), out_folder, weeks, as_json=as_json)


# ---- the façade's verbs --------------------------------------------------------------------------


@app.command()
def status(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """The system at a glance."""
    show(Remote(url, token).ask("GET", "/api/status"), as_json)


@app.command()
def state(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Voltages, loadings, taps and broken limits as estimated now."""
    answer = Remote(url, token).ask("GET", "/api/feeder/state")
    rows = [{"bus": bus, "a": v[0], "b": v[1], "c": v[2]} for bus, v in answer["v_pu"].items()]
    show(answer, as_json, rows=rows)


@app.command()
def groups(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """All virtual DERs with status and capability."""
    answer = Remote(url, token).ask("GET", "/api/groups")
    columns = ("id", "members", "online", "p_kw", "p_lo_kw", "p_hi_kw", "e_kwh", "lo_source", "hi_source")
    show(answer, as_json, rows=[{c: group[c] for c in columns} for group in answer])


@app.command()
def resources(
    group_id: Annotated[str, typer.Option("--group", help="Group id.")] = "all",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    query: Annotated[str, typer.Option(help="Query over any attribute, as `fleet query` takes it.")] = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Members of a group that fulfil a query."""
    params = {"group": group_id, "limit": limit, "query": query}
    answer = Remote(url, token).ask("GET", "/api/resources", params=params)
    show(answer, as_json, rows=answer)


@app.command()
def timeline(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Net load of the day: actual, forecast, plan."""
    answer = Remote(url, token).ask("GET", "/api/timeline")
    ahead = answer["plan"] or {"t": [], "net_kw": []}
    show(
        answer,
        as_json,
        rows=[{"t": t, "planned_kw": p} for t, p in zip(ahead["t"], ahead["net_kw"], strict=True)],
    )


@app.command()
def events(
    after: Annotated[int, typer.Option(help="Only those after this ledger position.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=2_000)] = 30,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """The newest events first."""
    answer = Remote(url, token).ask("GET", "/api/events", params={"after": after, "limit": limit})
    columns = ("seq", "time", "kind", "author", "text")
    show(answer, as_json, rows=[{c: event[c] for c in columns} for event in answer])


@app.command()
def proposals(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Wishes in force or to come."""
    answer = Remote(url, token).ask("GET", "/api/proposals")
    show(answer, as_json, rows=answer)


@app.command()
def propose(
    group_id: Annotated[str, typer.Argument(metavar="GROUP", help="Group or resource id.")],
    p_kw: Annotated[float | None, typer.Option("--p-kw", help="Wanted sum, injection positive.")] = None,
    p_lo_kw: Annotated[float | None, typer.Option("--p-lo-kw", help="Lower bound of the sum.")] = None,
    p_hi_kw: Annotated[float | None, typer.Option("--p-hi-kw", help="Upper bound of the sum.")] = None,
    minutes: Annotated[float, typer.Option(help="How long.")] = 60.0,
    why: Annotated[str, typer.Option(help="In words; kept in the ledger.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, send nothing.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Ask a group for an injection, or bound it."""
    body = {
        "group": group_id,
        "p_kw": p_kw,
        "p_lo_kw": p_lo_kw,
        "p_hi_kw": p_hi_kw,
        "minutes": minutes,
        "why": why,
    }
    answer = Remote(url, token).ask("POST", "/api/proposals", params={"dry_run": dry_run}, body=body)
    show(answer, as_json, rows=answer["members"][:20])


@app.command()
def withdraw(
    proposal_id: Annotated[str, typer.Argument(metavar="PROPOSAL")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Take a proposal back."""
    show(Remote(url, token).ask("DELETE", f"/api/proposals/{quote(proposal_id)}"), as_json)


@audit.command()
def verify(
    data: Annotated[
        Path | None, typer.Option("--data", help="Walk this folder's ledger, running or not.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Prove the chain, or name its first broken record (exit code 2)."""
    from gridflock.console import _offline

    answer = _offline.verify(data) if data else Remote(url, token).ask("GET", "/api/audit")
    show(answer, as_json)
    raise typer.Exit(0 if answer["ok"] else 2)


@bench.command("powerflow")
def bench_powerflow(
    feeder: Annotated[str, typer.Option(help="OpenDSS master, or a packed feeder.")] = "ieee123",
    root: Annotated[Path | None, typer.Option(help="Folder the master may not lead out of.")] = None,
    scenarios: Annotated[int, typer.Option(min=16, max=200_000, help="Daily steps in order.")] = 2048,
    level: Annotated[float, typer.Option(min=0.01, max=10.0, help="Mean load multiplier.")] = 0.6,
    seed: Seed = 1,
    widen: Annotated[
        bool, typer.Option("--widen", help="Load limits 0.85..1.15 pu on both sides: laws that jump there.")
    ] = False,
    controls: Annotated[
        bool, typer.Option("--controls", help="Regulators, capacitors and volt-var curves act on both sides.")
    ] = False,
    processors: Annotated[
        bool, typer.Option("--processors", help="Ours compiled for older processors and in plain loops, too.")
    ] = False,
    against: Annotated[str, typer.Option(help="opendss or power-grid-model.")] = "opendss",
    as_json: AsJson = False,
) -> None:
    """The batched power flow against a rival: the same scenarios in the same run, one thread each.

    Ends with exit code 2 where the figures do not count: answers too far apart or not converged.
    """
    from gridflock.console import _offline

    found = _offline.bench_powerflow(
        feeder,
        root,
        scenarios,
        level,
        seed,
        widen=widen,
        controls=controls,
        processors=processors,
        against=against,
    )
    _measured(found, as_json)


@bench.command("fleet")
def bench_fleet(
    ders: Annotated[int, typer.Option(min=1_000, max=5_000_000, help="Resources.")] = 1_000_000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Sums over groups, splits, switching, images, readings, import and queries of a synthetic fleet.

    Sums beside polars and NumPy in the same run. Ends with exit code 2 where an answer is wrong.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_fleet(ders, seed), as_json)


@bench.command("flexibility")
def bench_flexibility(
    members: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="Stores and vehicles.")] = 100_000,
    prices: Annotated[int, typer.Option(min=3, max=1_000, help="Price vectors.")] = 20,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """What a group of stores and vehicles can do over a day, with every member's schedule.

    Beside a greedy in NumPy and HiGHS in the same run. Ends with exit code 2 where an answer is wrong.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_flexibility(members, prices, seed), as_json)


@bench.command("dispatch")
def bench_dispatch(
    ders: Annotated[int, typer.Option(min=1_000, max=2_000_000, help="Resources.")] = 100_000,
    ticks: Annotated[int, typer.Option(min=0, max=10_000, help="0: 100, or 40 of very many.")] = 0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """The fast tick: from the image to orders recorded and handed to adapters.

    Beside a plain split by group in NumPy in the same run. Ends with exit code 2 where an order is outside
    what its resource can do, or a shortfall is without causes.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_dispatch(ders, ticks, seed), as_json)


@bench.command("forecast")
def bench_forecast(
    series: Annotated[int, typer.Option(min=100, max=2_000_000, help="Hourly meters.")] = 10_000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Forecasts of very many meters: training, and nine quantiles of 36 hours, processor time of one core.

    Ends with exit code 2 where a forecast is missing or its quantiles cross.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_forecast(series, seed), as_json)


@bench.command("coordination")
def bench_coordination(
    ders: Annotated[int, typer.Option(min=80, max=2_000_000, help="Devices.")] = 1_000_000,
    feeders: Annotated[int, typer.Option(min=2, max=1_000, help="Each with an import limit.")] = 100,
    steps: Annotated[int, typer.Option(min=48, max=288, help="Quarters of an hour.")] = 96,
    fleet: Annotated[str, typer.Option(help="normal, tight, volatile or batteries.")] = "normal",
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """One plan for a fleet under feeder and system limits: proven gap, cold and warm, checked by device.

    Small fleets of batteries beside HiGHS on the whole as one program. Ends with exit code 2 where a gap
    is not reached, a limit is broken or two bounds differ.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_coordination(ders, feeders, steps, fleet, seed), as_json)


@bench.command("schedule")
def bench_schedule(seed: Seed = 1, as_json: AsJson = False) -> None:
    """A day of 10 and of 50 stores behind one connection, beside pyomo with HiGHS and cvxpy with Clarabel.

    The same model in the same run. Ends with exit code 2 where answers differ or a bound is broken.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_schedule(seed), as_json)


@bench.command("network-dispatch")
def bench_network_dispatch(
    feeder: Annotated[str, typer.Option(help="OpenDSS master, or a packed feeder.")] = "ieee123",
    root: Annotated[Path | None, typer.Option(help="Folder the master may not lead out of.")] = None,
    ders: Annotated[int, typer.Option(min=10, max=20_000, help="Devices.")] = 1_000,
    policy: Annotated[
        str, typer.Option(help="hard, no_worse or ignore, where a limit is broken without devices.")
    ] = "no_worse",
    reactive: Annotated[
        bool, typer.Option("--reactive/--no-reactive", help="Whether inverters give reactive power.")
    ] = True,
    taps: Annotated[
        bool, typer.Option("--taps", help="Let regulators and capacitors take part; else they stand still.")
    ] = False,
    warm: Annotated[
        bool, typer.Option("--warm", help="Plan the next horizon from the first plan, too.")
    ] = False,
    polish: Annotated[
        int, typer.Option(min=0, max=100, help="Rounds after the first plan without violations.")
    ] = 4,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """A day of devices on a real feeder planned to zero AC violations; OpenDSS judges every step.

    Ends with exit code 2 where a limit is broken, or the plan is too far from the linearised bound.
    """
    from gridflock.console import _offline

    found = _offline.bench_network_dispatch(
        feeder, root, ders, seed, policy=policy, reactive=reactive, taps=taps, warm=warm, polish=polish
    )
    _measured(found, as_json)


@bench.command("feedback")
def bench_feedback(
    feeder: Annotated[str, typer.Option(help="OpenDSS master, or a packed feeder.")] = "ieee123",
    root: Annotated[Path | None, typer.Option(help="Folder the master may not lead out of.")] = None,
    ders: Annotated[int, typer.Option(min=10, max=20_000, help="Devices.")] = 250,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Step disturbances on a real feeder that feedback from noisy, late measurements has to hold.

    Ends with exit code 2 where a limit is broken for more than 10 s, or a reverse flow by more than 1 %.
    """
    from gridflock.console import _offline

    _measured(_offline.bench_feedback(feeder, root, ders, seed), as_json)


@bench.command("estimation")
def bench_estimation(
    feeder: Annotated[str, typer.Option(help="OpenDSS master, or a packed feeder.")] = "ieee123",
    root: Annotated[Path | None, typer.Option(help="Folder the master may not lead out of.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Seeds.")] = 20,
    level: Annotated[float, typer.Option(min=0.01, max=10.0, help="Mean load multiplier.")] = 1.0,
    missing: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of loads without a meter.")] = 0.3,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """The state estimator against the power flow of the same readings, and planted bad meters."""
    from gridflock.console import _offline

    show(_offline.bench_estimation(feeder, root, runs, level, missing, seed), as_json)


def _measured(found: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 a flag passed on
    """Show figures; exit code 2 where they do not count."""
    show(found, as_json)
    if not found.get("counts", True):
        typer.echo(f"does not count: {found['why_not']}", err=True)
        raise typer.Exit(2)


# ---- users ---------------------------------------------------------------------------------------


@users.command("add")
def users_add(
    name: str,
    data: Data = Path("gridflock-data"),
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "operator",
    group_id: Annotated[list[str] | None, typer.Option("--group", help="Authority over; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a user, or give one a new token; the token is printed once."""
    from gridflock.console import _offline

    token = _offline.add_user(data, name, role, group_id or ["all"])
    typer.echo(json.dumps({"name": name, "role": role, "token": token}) if as_json else token)


@users.command("list")
def users_list(data: Data = Path("gridflock-data"), as_json: AsJson = False) -> None:
    """Users and roles."""
    from gridflock.console import _offline

    found = _offline.user_names(data)
    show(found, as_json)


@users.command("remove")
def users_remove(name: str, data: Data = Path("gridflock-data")) -> None:
    """Remove a user; the token is refused from then on."""
    from gridflock.console import _offline

    _offline.remove_user(data, name)


def main() -> None:
    """Entry point of the ``gridflock`` command."""
    app()
