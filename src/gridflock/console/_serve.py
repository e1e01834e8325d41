"""Running systems: the loop in one thread, the server in another, both stopped cleanly."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import tempfile
import threading
import time
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
import uvicorn
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gridflock.console import _offline
from gridflock.console._goals import stated_goals, told_faults
from gridflock.console._rest import build
from gridflock.console._screen import stop as stop_
from gridflock.console._upward import Offer, offering
from gridflock.console._weather import weather_of
from gridflock.dispatch import GuardLimits
from gridflock.ports import Weather
from gridflock.record import RecordError
from gridflock.runtime import (
    Derms,
    FolderMismatch,
    RequestRejected,
    Role,
    Settings,
    Users,
    read_limits,
    rehearse,
)
from gridflock.sim import Scenario

if TYPE_CHECKING:
    from gridflock.runtime.devices import Serve

_HOST = "127.0.0.1"
_GRACE_S = 2
_LINE_EVERY_S = 5.0
_FIRST_TICK_S = 60.0
_SHOWN = 20
_SPEAKING = ("cryptography", "httptools", "lxml")


class _Server(uvicorn.Server):
    """Uvicorn whose end also ends the loop."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event) -> None:
        super().__init__(config)
        self._end = stop

    async def on_tick(self, counter: int) -> bool:
        """Uvicorn asks ten times a second whether to stop."""
        if self._end.is_set():
            self.should_exit = True
        return await super().on_tick(counter)


def demo(
    data: Path | None,
    port: int,
    speed: float,
    for_s: float | None,
    ders: int,
    seed: int,
    start: str,
    *,
    browser: bool,
    spoken: int,
) -> None:
    """A day on the IEEE 123-bus feeder, joined at ``start`` local time."""
    with contextlib.ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gridflock-")))
        scenario = _offline.scenario("ieee123", ders, "2026-07-15", seed)
        scenario = replace(scenario, spoken=_can_speak(min(spoken, ders)))
        typer.echo("preparing the feeder, the fleet and the week before …")
        stop = threading.Event()
        derms = _open(data, scenario, Settings(tick_s=4), speed, stop, None, _offline.clock_time(start))
        token = Users(data).add("operator", Role.OPERATOR)
        address = f"http://{_HOST}:{port}/#token={token}"
        typer.echo(f"console: {address}\nAPI:     http://{_HOST}:{port}/docs\nstop with Ctrl-C")
        if browser:
            webbrowser.open(address)
        _live(derms, Users(data), port, stop, for_s)


def _can_speak(many: int) -> int:
    """As many devices as asked for speak IEEE 2030.5; none without the libraries it needs."""
    missing = [name for name in _SPEAKING if importlib.util.find_spec(name) is None]
    if many and missing:
        typer.echo(f"no device speaks IEEE 2030.5 ({', '.join(missing)} missing: gridflock[ieee2030_5])")
        return 0
    return many


def run(
    data: Path,
    scenario: Scenario,
    fleet_file: Path | None,
    port: int,
    tick: int,
    speed: float,
    *,
    managed: bool,
    feedback: bool = False,
    goals: Path | None = None,
    guard: Path | None = None,
    border: tuple[str, tuple[float, float] | None] = ("", None),
    weather: str = "",
    weeks: int = 1,
    serves: Serve | None = None,
    offer: Offer | None = None,
) -> None:
    """A system in a data folder, made or resumed."""
    stop = threading.Event()
    rows = None if fleet_file is None else _offline.read_fleet(fleet_file)
    wanted = None if goals is None else stated_goals(goals)
    name, default_kw = border
    settings = Settings(
        tick_s=tick, managed=managed, feedback=feedback, goals=wanted, name=name, default_kw=default_kw
    )  # fmt: skip
    if guard is not None:
        settings = replace(settings, policy=replace(settings.policy, guard=_limits(guard)))
    told = weather_of(weather, scenario)
    derms = _open(data, scenario, settings, speed, stop, rows, None, (told, weeks), serves)
    typer.echo(f"console: http://{_HOST}:{port}/\nstop with Ctrl-C")
    if not _offline.user_names(data):
        typer.echo(f"no users yet: make one with `gridflock users add NAME --data {data}`")
    _live(derms, Users(data), port, stop, None, offer)


def _limits(file: Path) -> GuardLimits:
    try:
        return read_limits(file)
    except RequestRejected as error:
        raise told_faults(error) from error


def _open(
    data: Path,
    scenario: Scenario,
    settings: Settings,
    speed: float,
    stop: threading.Event,
    rows: _offline.RowList | None,
    join_s: int | None,
    known: tuple[Weather | None, int] = (None, 1),
    serves: Serve | None = None,
) -> Derms:
    try:
        data.mkdir(parents=True, exist_ok=True)
        derms, _ = rehearse(
            data, scenario, settings, speed=speed, stop=stop, registry=rows, join_s=join_s,
            weather=known[0], weeks=known[1], serves=serves,
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise stop_(f"{error.name} is not installed: pip install 'gridflock[ieee2030_5]'") from error
    except (FolderMismatch, RecordError, OSError) as error:
        typer.echo(f"data: {error}", err=True)
        raise typer.Exit(1) from error
    except RequestRejected as error:
        raise told_faults(error) from error
    if rows is not None and not _told(derms, len(rows)):
        derms.close()
        raise typer.Exit(1)
    return derms


def _told(derms: Derms, given: int) -> bool:
    """Say which of the given registry rows were refused; False where none was taken."""
    refused = derms.refused_rows
    for fault in refused[:_SHOWN]:
        who = f" ({', '.join(fault.ids)})" if fault.ids else ""
        typer.echo(f"row {fault.row}{who}: {fault.field}: {fault.reason}", err=True)
    bad = len({fault.row for fault in refused})
    if refused:
        more = f"; {_SHOWN} of {len(refused)} faults shown, all by `gridflock fleet check`"
        told = more if len(refused) > _SHOWN else ""
        typer.echo(f"{bad} rows refused, {given - bad} taken{told}", err=True)
    if given == bad:
        typer.echo("fleet: no row could be taken (rule: at least one resource)", err=True)
    return given > bad


def _live(
    derms: Derms,
    users: Users,
    port: int,
    stop: threading.Event,
    for_s: float | None,
    offer: Offer | None = None,
) -> None:
    """Loop and server until Ctrl-C, ``for_s`` seconds, or a failure of either."""
    failure: list[BaseException] = []

    def loop() -> None:
        try:
            derms.run(stop, derms.day[1])
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            failure.append(error)
            stop.set()

    ticking = threading.Thread(target=loop, name="gridflock-loop")
    ticking.start()
    timer = threading.Timer(for_s, stop.set) if for_s else None
    if timer:
        timer.start()
    config = uvicorn.Config(
        build(derms, users),
        host=_HOST,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=65_536,
        limit_concurrency=256,
    )
    watching = threading.Thread(target=_progress, args=(derms, stop), name="gridflock-progress")
    watching.start()
    # Uvicorn hands a signal on when it has stopped: a service manager's TERM must end as cleanly as Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _first_tick(derms, stop)
            with offering(derms, None if stop.is_set() else offer):
                _Server(config, stop).run()
    finally:
        stop.set()
        if timer:
            timer.cancel()
        ticking.join()
        watching.join()
        _close(derms)
    if failure:
        typer.echo(f"stopped: the loop failed: {type(failure[0]).__name__}: {failure[0]}", err=True)
        if isinstance(failure[0], RecordError):
            raise typer.Exit(1) from failure[0]
        raise failure[0]
    typer.echo(f"stopped: {derms.summary()}")


def _close(derms: Derms) -> None:
    """Release the record; what it could not write is told, and hides no other failure."""
    try:
        derms.close()
    except RecordError as error:
        typer.echo(f"history not written: {error}", err=True)


def _first_tick(derms: Derms, stop: threading.Event) -> None:
    """Wait for something to show, but not for a loop that has ended."""
    until = time.monotonic() + _FIRST_TICK_S
    while derms.wait(-1, 0.2) is None and not stop.is_set() and time.monotonic() < until:
        pass


def _progress(derms: Derms, stop: threading.Event) -> None:
    """The day as a bar with the feeder's state beside it; plain lines where nobody watches a screen."""
    start_s, end_s = derms.day
    screen = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    tick, told = -1, 0.0
    with Progress(*columns, console=screen, refresh_per_second=2, disable=not screen.is_terminal) as bar:
        task = bar.add_task("waiting for the first tick", total=end_s - start_s)
        while not stop.is_set():
            moment = derms.wait(tick, 0.5)
            if moment is None:
                continue
            tick = moment.tick
            bar.update(task, completed=moment.now_s - start_s, description=derms.summary())
            if not screen.is_terminal and time.monotonic() - told > _LINE_EVERY_S:
                told = time.monotonic()
                typer.echo(derms.summary())
