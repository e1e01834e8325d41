"""A running system as client of a utility's server above it: options of ``gridflock run``, and its life."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from gridflock.console._devices_operate import pins_of
from gridflock.console._screen import stop
from gridflock.runtime import Derms, UnknownName

AboveServer = Annotated[
    str, typer.Option("--above-2030-5", help="HOST:PORT of a utility's server above; needs --as, --group.")
]
AboveName = Annotated[str, typer.Option("--as", help="Certificate for it: a folder in issued/ of --pki.")]
AboveGroups = Annotated[
    list[str] | None, typer.Option("--group", help="Offered above as one end device; repeat for many.")
]
AboveMembers = Annotated[
    bool, typer.Option("--members", help="Offer each member of these groups as an end device.")
]
AbovePin = Annotated[int | None, typer.Option("--above-pin", help="Which the server above must name.")]
AbovePins = Annotated[
    Path | None, typer.Option("--above-pins", help="CSV of LFDI, PIN: of end devices with their own above.")
]
_MISSING = "is not installed: pip install 'gridflock[ieee2030_5]'"


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered to whom.

    Attributes:
        host: of the server above.
        port: of it.
        pki: folder of certificates.
        name: of the one that is spoken with.
        groups: offered.
        members: each member by itself.
        pin: which the server must name; None = it is not looked at.
        pins: LFDI to the PIN of an end device that has its own.
    """

    host: str
    port: int
    pki: Path
    name: str
    groups: tuple[str, ...]
    members: bool
    pin: int | None
    pins: Mapping[str, int] = field(default_factory=dict)


def offer_of(
    server: str,
    pki: Path | None,
    name: str,
    groups: list[str] | None,
    pin: int | None,
    pins: Path | None = None,
    *,
    members: bool,
) -> Offer | None:
    """What is asked for; None where nothing is."""
    if not server:
        if name or groups or members or pin is not None or pins is not None:
            rule = "--as, --group, --members, --above-pin and --above-pins go with it"
            raise stop(f"above-2030-5: not given (rule: {rule})")
        return None
    host, colon, port = server.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise stop(f"above-2030-5: {server!r} (rule: HOST:PORT)")
    lacking = [told for told, given in (("--pki", pki), ("--as", name), ("--group", groups)) if not given]
    if pki is None or lacking:
        raise stop(f"above-2030-5: no {', '.join(lacking)} (rule: --pki, --as and --group)")
    own = {} if pins is None else pins_of(pins)
    return Offer(host.strip("[]"), int(port), pki, name, tuple(groups or ()), members, pin, own)


@contextlib.contextmanager
def offering(derms: Derms, offer: Offer | None) -> Iterator[None]:
    """Speak with the server above for as long as this lasts; ``derms`` has ticked."""
    if offer is None:
        yield
        return
    try:
        from gridflock.field.ieee2030_5.identity import CertificatesRejected
        from gridflock.runtime.devices import Contact, Upward
    except ImportError as error:
        raise stop(f"{error.name} {_MISSING}") from error
    contact = Contact(offer.host, offer.port, offer.pki, pin=offer.pin)
    try:
        upward = Upward(derms, contact, offer.name, offer.groups, members=offer.members, pins=offer.pins)
    except CertificatesRejected as error:
        raise stop("\n".join(f"{f.field}: {', '.join(f.ids)}: {f.reason}" for f in error.faults)) from error
    except (OSError, ValueError, UnknownName) as error:
        raise stop(f"above-2030-5: {error}") from error
    for what, lfdi in upward.lfdis.items():
        typer.echo(f"offered above: {what} as {lfdi}")
    upward.start()
    try:
        yield
    finally:
        upward.stop()
        said = ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in upward.status().items() if value
        )
        typer.echo(f"above: {said}")
