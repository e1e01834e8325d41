"""Devices that speak IEEE 2030.5 to a server of somebody's, and what a server takes of a processor."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridflock.console._devices_operate import add, hosts_of, pins_of
from gridflock.console._screen import AsJson, show, stop

if TYPE_CHECKING:
    from gridflock.runtime.devices import Apart, Serve
    from gridflock.runtime.devices._published import Publishes

app = typer.Typer(
    help="Devices that speak IEEE 2030.5: those of a running system, and simulated ones.",
    no_args_is_help=True,
)
add(app)
_EVERY_S, _LINE_EVERY_S = 0.5, 10.0
_MISSING = "is not installed: pip install 'gridflock[ieee2030_5]'"


def bench_ieee2030_5(
    devices: Annotated[int, typer.Option(min=10, max=100_000, help="That poll and post.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1.0, max=3_600.0, help="For so long.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """A utility server of IEEE 2030.5 over mutual TLS: processor time of its process for each request.

    Beside a plain server with models of envoy-schema in the same run. Ends with exit code 2 where a reading
    is lost or a bar is missed.
    """
    try:
        from gridflock.bench._ieee2030_5 import ServerFailed, ieee2030_5
    except ImportError as error:
        raise stop(f"{error.name} {_MISSING}") from error
    try:
        found = dict(ieee2030_5(devices, seconds))
    except (ImportError, OSError, ServerFailed) as error:
        raise stop(str(error)) from error
    show(found, as_json)
    if not found["counts"]:
        typer.echo(f"does not count: {found['why_not']}", err=True)
        raise typer.Exit(2)


@app.command()
def run(
    server: Annotated[str, typer.Option(help="HOST:PORT, with a host that its certificate names.")],
    pki: Annotated[Path, typer.Option(help="Authority's folder; certificates sim-1 … are issued there.")],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Devices.")] = 10,
    protocol: Annotated[str, typer.Option(help="2030.5.")] = "2030.5",
    entry: Annotated[str, typer.Option(help="The one path they are told.")] = "/dcap",
    minutes: Annotated[float, typer.Option(min=0.0, help="Of theirs; 0 = until Ctrl-C.")] = 0.0,
    speed: Annotated[float, typer.Option(min=0.01, max=1_000.0, help="Their seconds per second.")] = 1.0,
    pin: Annotated[int | None, typer.Option(help="Which the server must name.")] = None,
    loss: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of requests lost.")] = 0.0,
    answers_lost: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of answers lost.")] = 0.0,
    skew: Annotated[int, typer.Option(min=0, max=3_600, help="Clocks are off by up to so many s.")] = 0,
    stragglers: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share that is up to 60 s late.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of their world and of every draw.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run simulated devices that speak to a server over mutual TLS; a summary at the end.

    Ends with exit code 2 where not all of them could register.
    """
    host, colon, port = server.rpartition(":")
    if protocol != "2030.5":
        raise stop(f"protocol: {protocol!r} (rule: 2030.5)")
    if not colon or not port.isdigit():
        raise stop(f"server: {server!r} (rule: HOST:PORT)")
    try:
        from gridflock.field.ieee2030_5.identity import CertificatesRejected
        from gridflock.runtime.devices import Apart, Contact, Faults
    except ImportError as error:
        raise stop(f"{error.name} {_MISSING}") from error
    faults = Faults(
        lost_share=loss, answers_lost_share=answers_lost, skew_s=skew,
        stragglers_share=stragglers, straggle_s=60, seed=seed,
    )  # fmt: skip
    contact = Contact(host.strip("[]"), int(port), pki, entry, pin)
    try:
        apart = Apart(contact, count, faults, speed)
    except CertificatesRejected as error:
        raise stop("\n".join(f"{f.field}: {', '.join(f.ids)}: {f.reason}" for f in error.faults)) from error
    except (OSError, ValueError) as error:
        raise stop(f"devices: {error}") from error
    try:
        _live(apart, 60 * minutes)
        found = apart.status()
    finally:
        apart.close()
    show(found, as_json)
    if found["registered"] != count:
        raise typer.Exit(2)


ServerPort = Annotated[
    int | None, typer.Option(min=1, max=65_535, help="Port for devices with an LFDI; needs --pki.")
]
ServerPki = Annotated[Path | None, typer.Option(help="Authority's folder, with a certificate `utility`.")]
Pin = Annotated[int, typer.Option(help="PIN of devices without their own, with its check digit.")]
Registration = Annotated[
    str, typer.Option(help="closed, ask or open: what becomes of devices that register themselves.")
]
Pins = Annotated[Path | None, typer.Option(help="CSV of LFDI, PIN: of devices with a PIN of their own.")]
NotifyHosts = Annotated[
    str, typer.Option(help="Hosts that notifications may be sent to, with commas; or a file, one in a line.")
]
NotifyLab = Annotated[
    bool, typer.Option("--notify-lab", help="Notify this machine and private networks, too: laboratories.")
]

TrialStorage = Annotated[
    bool,
    typer.Option(
        "--csip-aus-trial-storage", help="Read storage told in the CSIP-AUS trial's namespace as of 1.3."
    ),
]
PublishesFile = Annotated[
    Path | None, typer.Option("--publishes", help="TOML file of what devices are told beside orders.")
]


def serves(
    port: int | None,
    pki: Path | None,
    pin: int,
    registration: str = "closed",
    pins: Path | None = None,
    notify_hosts: str = "",
    *,
    notify_lab: bool = False,
    trial_storage: bool = False,
    publishes: Path | None = None,
) -> Serve | None:
    """How a running system speaks IEEE 2030.5; None where it is not asked to."""
    if port is None:
        return None
    if pki is None:
        raise stop("pki: not given (rule: --ieee2030-5 needs --pki)")
    try:
        from gridflock.field.ieee2030_5.identity import is_pin
        from gridflock.runtime.devices import REGISTRATION, Serve
    except ImportError as error:
        raise stop(f"{error.name} {_MISSING}") from error
    if not is_pin(pin):
        raise stop(f"pin: {pin} (rule: five digits and their check digit)")
    if registration not in REGISTRATION:
        raise stop(f"registration: {registration!r} (rule: {', '.join(REGISTRATION)})")
    own = {} if pins is None else pins_of(pins)
    return Serve(
        port, pki, pin=pin, pins=own, registration=registration, hosts=hosts_of(notify_hosts), lab=notify_lab,
        trial_storage=trial_storage, publishes=_publishes(publishes),
    )  # fmt: skip


def _publishes(path: Path | None) -> Publishes:
    """What a file says that devices are told; what is told without one."""
    from gridflock.runtime._requests import RequestRejected
    from gridflock.runtime.devices._published import Publishes
    from gridflock.runtime.devices._published_file import read_publishes

    try:
        return Publishes() if path is None else read_publishes(path)
    except RequestRejected as rejected:
        told = (f"{fault.field}: {fault.reason} (rule: {fault.rule})" for fault in rejected.faults)
        raise stop("\n".join(told)) from rejected


def _live(apart: Apart, seconds: float) -> None:
    """Until their time is over or Ctrl-C; a line that is written over, or one now and then."""
    live = sys.stderr.isatty()
    told_s = 0.0
    try:
        while seconds == 0 or apart.lived_s < seconds:
            apart.live()
            if live or time.monotonic() - told_s > _LINE_EVERY_S:
                told_s = time.monotonic()
                typer.echo(_line(apart.status()) + ("\r" if live else ""), nl=not live, err=True)
            time.sleep(_EVERY_S)
    except KeyboardInterrupt:
        pass
    if live:
        typer.echo(err=True)


def _line(status: dict[str, Any]) -> str:
    names = ("registered", "under_control", "responses", "readings", "lost")
    errors = sum(status["errors"].values())
    return ", ".join(f"{name.replace('_', ' ')} {status[name]}" for name in names) + f", errors {errors}"
