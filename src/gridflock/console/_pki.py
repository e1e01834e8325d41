"""Certificates for IEEE 2030.5, made and judged on this machine: ``gridflock pki …``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridflock.console._screen import AsJson, show, stop
from gridflock.units import iso

if TYPE_CHECKING:
    from gridflock.field.ieee2030_5.identity import Standing, Trust

app = typer.Typer(help="A certificate authority for IEEE 2030.5, in a folder.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="The authority's folder.")]
Which = Annotated[str, typer.Argument(help="Name or LFDI of a certificate.")]
_LARGEST_BYTES = 1_048_576


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    name: Annotated[str, typer.Option(help="Of the network; part of each authority's common name.")],
    production: Annotated[
        bool, typer.Option("--production/--test", help="Whether its certificates count outside of tests.")
    ] = False,
    length: Annotated[int, typer.Option(help="Certificates in a chain, root and leaf counted: 2 to 4.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Make keys and certificates of a new authority, for devices and for services."""
    with _refused():
        from gridflock.field.ieee2030_5.identity import Authority

        Authority.make(folder, name, _now_s(), tests=not production, length=length)
    made = {
        "folder": str(folder),
        "name": name,
        "kind": "production" if production else "test",
        "trust": str(folder / "trust.pem"),
        "revoked": str(folder / "revoked.pem"),
    }
    show(made, as_json)


@app.command("issue-device")
def issue_device(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Folder of its key and chain, below issued/.")],
    serial: Annotated[str, typer.Option(help="Serial number of the hardware.")],
    type_: Annotated[str, typer.Option("--type", help="Object identifier of the type of hardware.")],
    kind: Annotated[str, typer.Option(help="generic, mobile or post-manufacture.")] = "generic",
    count: Annotated[
        int, typer.Option(min=1, max=100_000, help="So many, NAME-1, NAME-2 … with SERIAL-1, SERIAL-2 …")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Issue certificates of devices: no end, no subject, the hardware's name."""
    ends = [""] if count == 1 else [f"-{k}" for k in range(1, count + 1)]
    with _refused():
        from gridflock.field.ieee2030_5.identity import Authority, HardwareName

        devices = [(f"{name}{end}", HardwareName(type_, f"{serial}{end}".encode())) for end in ends]
        issued = Authority(folder).issue_devices(devices, _now_s(), kind)
    _tell(folder, issued, as_json)


@app.command("issue-service")
def issue_service(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Common name, and folder of its key and chain.")],
    host: Annotated[
        list[str], typer.Option(help="DNS name or address it is reached by; give it once for each.")
    ],
    days: Annotated[int, typer.Option(help="How long it lasts.")] = 730,
    as_json: AsJson = False,
) -> None:
    """Issue the certificate of an aggregator or of a utility's server."""
    with _refused():
        from gridflock.field.ieee2030_5.identity import Authority

        issued = Authority(folder).issue_service(name, host, days, _now_s())
    _tell(folder, [issued], as_json)


@app.command()
def rotate(folder: Folder, which: Which, as_json: AsJson = False) -> None:
    """Issue a new key and certificate to whom one was issued; the old one stands until it is revoked.

    The LFDI follows from the certificate, so it is another one: enrol it before revoking the old one.
    """
    with _refused():
        from gridflock.field.ieee2030_5.identity import Authority

        issued = Authority(folder).rotate(which, _now_s())
    _tell(folder, [issued], as_json)


@app.command()
def revoke(
    folder: Folder,
    which: Which,
    reason: Annotated[str, typer.Option(help="Why, for the register.")],
    as_json: AsJson = False,
) -> None:
    """Take a certificate back and renew the revocation lists; doing so again changes nothing."""
    with _refused():
        from gridflock.field.ieee2030_5.identity import Authority

        issued = Authority(folder).revoke(which, reason, _now_s())
    _tell(folder, [issued], as_json)


@app.command("show")
def show_(
    path: Annotated[Path, typer.Argument(help="An authority's folder, or a PEM file with a leaf first.")],
    trust: Annotated[
        Path | None, typer.Option(help="PEM file of trusted authorities, to complete and judge the chain.")
    ] = None,
    production: Annotated[
        bool, typer.Option("--production/--test", help="Whether a certificate for tests is a fault.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What an authority has issued; or what a certificate says, and every rule that it or its issuers break.

    Ends with 1 where a rule is broken.
    """
    with _refused():
        from gridflock.field.ieee2030_5.identity import Authority

        if path.is_dir():
            authority = Authority(path)
            _tell(path, authority.issued, as_json)
            return
        faults = _judged(path, trust, production=production, as_json=as_json)
    raise typer.Exit(1 if faults else 0)


def _judged(path: Path, trusted: Path | None, *, production: bool, as_json: bool) -> list[str]:
    from gridflock.field.ieee2030_5.identity import Trust, trust_from

    trust = Trust((), tests=not production)
    if trusted is not None:
        trust = trust_from(_read(trusted), _now_s(), tests=not production)
    chain = trust.chain_from(_read(path))
    standing = trust.judge(chain, _now_s())
    faults = [str(broken) for broken in standing.broken]
    if trusted is not None and not trust.knows(chain):
        faults.append("chain: not kept: it leads to a trusted authority")
    show(_said(standing, trust, chain) | {"broken": faults}, as_json)
    if not as_json:
        for fault in faults:
            typer.echo(fault)
    return faults


def _said(standing: Standing, trust: Trust, chain: list[bytes]) -> dict[str, Any]:
    hardware = standing.hardware
    return {
        "lfdi": standing.lfdi,
        "sfdi": standing.sfdi,
        "role": standing.role.value,
        "subject": standing.subject,
        "names": ", ".join(standing.names),
        "hardware": ""
        if hardware is None
        else f"{hardware.kind} {hardware.serial.decode('utf-8', 'replace')}",
        "until": iso(standing.until_s),
        "chain": len(chain),
        "trusted": trust.knows(chain),
    }


def _tell(folder: Path, issued: Any, as_json: bool) -> None:  # noqa: FBT001, ANN401 - a flag passed on; the noun needs the extra
    rows = [
        {
            "name": each.name,
            "role": each.role,
            "lfdi": each.lfdi,
            "sfdi": each.sfdi,
            "issued": iso(each.issued_s),
            "revoked": None if each.revoked_s < 0 else iso(each.revoked_s),
            "reason": each.reason,
            "replaces": each.replaces,
            "folder": str(folder / "issued" / each.name),
        }
        for each in issued
    ]
    if as_json:
        show(rows, as_json)
    for row in () if as_json else rows:
        marks = [f"{word} {row[word]}" for word in ("replaces", "revoked", "reason") if row[word]]
        typer.echo(
            f"{row['lfdi']} {row['sfdi']:>12} {row['role']:<7} {row['name']} {', '.join(marks)}".rstrip()
        )
    if not as_json and not rows:
        typer.echo("nothing issued yet")


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_BYTES:
        raise stop(f"{path}: longer than {_LARGEST_BYTES} bytes")
    return path.read_bytes()


def _now_s() -> int:
    return int(time.time())


@contextmanager
def _refused() -> Iterator[None]:
    """Every rule broken on a line of its own; a missing extra by its name."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise stop(f"{error.name} is not installed: pip install 'gridflock[ieee2030_5]'") from error
    except OSError as error:
        raise stop(f"{error.filename}: {error.strerror}") from error
    except Exception as error:
        faults = getattr(error, "faults", None)
        if faults is None:
            raise
        raise stop("\n".join(f"{f.field}: {', '.join(f.ids)}: {f.reason}" for f in faults)) from error
