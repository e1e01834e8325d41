"""Commands of who operates the IEEE 2030.5 server of a running system."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gridflock.console._remote import Remote
from gridflock.console._screen import AsJson, Token, Url, show, stop

Why = Annotated[str, typer.Option(help="In words; kept in the ledger.")]
Lfdi = Annotated[str, typer.Argument(metavar="LFDI", help="40 hexadecimal digits, as `devices list` shows.")]
Resource = Annotated[str, typer.Option(help="Resource of the fleet that it is joined to.")]
_SHOWN = (
    "lfdi",
    "resource",
    "access",
    "registered",
    "profile",
    "last_contact",
    "lost_since",
    "control",
    "trouble",
)


def add(app: typer.Typer) -> None:
    """Put the operator's commands beside those of simulated devices."""
    app.command("status")(status)
    app.command("list")(list_)
    app.command("show")(show_)
    for command in (enrol, approve, refuse, suspend, enable, pin, rates, rate, points):
        app.command()(command)
    for other in (deny, readmit, revoked, differs, above):
        app.command()(other)


def status(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """The server at a glance: devices by state, refusals by cause, who is kept out."""
    _glance(Remote(url, token).ask("GET", "/api/utility"), as_json)


def list_(
    access: Annotated[str, typer.Option(help="Only pending, enabled, suspended or removed ones.")] = "",
    text: Annotated[str, typer.Option(help="Only those of which a name holds this.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="So many are left out first.")] = 0,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Devices that speak to the server, a page at a time."""
    params = {"access": access, "text": text, "limit": limit, "offset": offset}
    answer = Remote(url, token).ask("GET", "/api/devices", params=params)
    rows = [{name: each[name] for name in _SHOWN} for each in answer["devices"]]
    show(answer, as_json, rows=rows)
    last = offset + len(rows)
    if last < answer["total"] and not as_json:
        typer.echo(f"{last} of {answer['total']}; go on with --offset {last}", err=True)


def show_(lfdi: Lfdi, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """One device: what stands for it now, its PIN, what it said and reported last."""
    _detail(Remote(url, token).ask("GET", _path(lfdi)), as_json)


def enrol(
    lfdi: Lfdi,
    resource: Resource = "",
    pin: Annotated[int | None, typer.Option(help="Five digits and a check digit.")] = None,
    aggregator: Annotated[
        bool | None,
        typer.Option(
            "--aggregator/--direct", help="It speaks for sites, or for itself, and no aggregator for it."
        ),
    ] = None,
    owner: Annotated[str, typer.Option(help="LFDI of the aggregator that speaks for it.")] = "",
    profile: Annotated[str, typer.Option(help="sep2018, csipaus12 or csipaus13.")] = "",
    name: Annotated[str, typer.Option(help="For people.")] = "",
    host: Annotated[
        list[str] | None, typer.Option(help="Host that its notifications may be sent to; repeat.")
    ] = None,
    point: Annotated[str, typer.Option(help="Connection point.")] = "",
    why: Why = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Register a device out of band, or say more of one that is known; one that waits is approved by it."""
    body: dict[str, Any] = {
        "resource": resource, "pin": pin, "aggregator": aggregator, "owner": owner, "profile": profile,
        "name": name, "hosts": host, "point": point, "why": why,
    }  # fmt: skip
    show(Remote(url, token).ask("PUT", _path(lfdi), body=body), as_json)


def approve(
    lfdi: Lfdi, resource: Resource = "", why: Why = "", url: Url = None, token: Token = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let a device in that has registered itself."""
    _access(Remote(url, token), lfdi, "enabled", (resource, why), as_json)


def refuse(lfdi: Lfdi, why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Refuse a device for good; it may not register itself again. A mere claim ends for its aggregator."""
    _access(Remote(url, token), lfdi, "removed", ("", why), as_json)


def suspend(lfdi: Lfdi, why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Answer a device with 403 until it is enabled again; all that is known of it stays."""
    _access(Remote(url, token), lfdi, "suspended", ("", why), as_json)


def enable(
    lfdi: Lfdi, resource: Resource = "", why: Why = "", url: Url = None, token: Token = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let a suspended or refused device go on where it was."""
    _access(Remote(url, token), lfdi, "enabled", (resource, why), as_json)


def pin(
    lfdi: Lfdi,
    pin: Annotated[
        int | None, typer.Option(help="Five digits and a check digit; one by lot if not given.")
    ] = None,
    why: Why = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Give a device another PIN, and show it."""
    _detail(Remote(url, token).ask("PUT", f"{_path(lfdi)}/pin", body={"pin": pin, "why": why}), as_json)


def rates(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """How often clients are told to ask and to report."""
    _rates(Remote(url, token).ask("GET", "/api/utility/rates"), as_json)


def rate(
    poll: Annotated[int | None, typer.Option(min=1, max=86_400, help="Seconds between two requests.")] = None,
    post: Annotated[int | None, typer.Option(min=1, max=86_400, help="Seconds between two reports.")] = None,
    kind: Annotated[str, typer.Option(help="Only this resource (DERProgramList …).")] = "",
    lfdi: Annotated[str, typer.Option(help="Only this device or aggregator.")] = "",
    why: Why = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Tell clients to ask or to report more or less often; it stands in their next answers."""
    body = {"poll_s": poll, "post_s": post, "kind": kind, "lfdi": lfdi, "why": why}
    _rates(Remote(url, token).ask("PUT", "/api/utility/rates", body=body), as_json)


def points(
    file: Annotated[Path, typer.Argument(help="CSV: connection point, and the resource there or nothing.")],
    why: Why = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say which connection points devices may name from now on; an empty file means any."""
    body = {"points": dict(_pairs(file)), "why": why}
    _glance(Remote(url, token).ask("PUT", "/api/utility/points", body=body), as_json)


def deny(lfdi: Lfdi, why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Keep a certificate out at the connection; connections that stand end at once."""
    path = f"/api/utility/denied/{quote(lfdi)}"
    _glance(Remote(url, token).ask("PUT", path, params={"why": why}), as_json)


def readmit(lfdi: Lfdi, why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Let a certificate in again that was denied."""
    path = f"/api/utility/denied/{quote(lfdi)}"
    _glance(Remote(url, token).ask("DELETE", path, params={"why": why}), as_json)


def revoked(why: Why = "", url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Read the revocation lists of the authority's folder again."""
    _glance(Remote(url, token).ask("POST", "/api/utility/revoked", params={"why": why}), as_json)


def differs(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Settings that devices tell and that are not what the registry says."""
    answer = Remote(url, token).ask("GET", "/api/utility/differs")
    show(answer, as_json, rows=answer)


def above(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """How this system stands as a client of a server above it: end devices, what they follow and answered."""
    answer = Remote(url, token).ask("GET", "/api/utility/above")
    if as_json:
        show(answer, as_json)
        return
    rows = [
        {name: each[name] for name in ("offered", "state", "pin", "last_contact", "poll_s", "post_s")}
        | {
            "follows": ", ".join(f"{mode['mode']} {mode['value']}" for mode in each["effective"])
            + (" (waits for a second person)" if each["waits"] else ""),
            "answered": ", ".join(f"{said['answer']} ({said['sent']})" for said in each["answers"][:1]),
            "failures": each["failures"],
            "trouble": "; ".join(each["troubles"]),
            "next_try": each["next_try"],
        }
        for each in answer["devices"]
    ]
    show(answer | {"troubles": "; ".join(answer["troubles"])}, as_json, rows=rows)


def pins_of(file: Path) -> dict[str, int]:
    """LFDI to PIN, of a file with a row for each; a bad row ends the command with every fault.

    Args:
        file: CSV: LFDI, PIN. A first row that says so is passed over.
    """
    from gridflock.field.ieee2030_5.identity import is_lfdi, is_pin

    found: dict[str, int] = {}
    faults = []
    for row, (lfdi, pin) in enumerate(_pairs(file), 1):
        if row == 1 and lfdi.casefold() == "lfdi":
            continue
        rules = {
            f"lfdi: {lfdi!r} (rule: 40 uppercase hexadecimal digits)": is_lfdi(lfdi),
            f"lfdi: {lfdi!r} again (rule: one row for each)": lfdi not in found,
            f"pin: {pin!r} (rule: five digits and their check digit)": pin.isdecimal()
            and len(pin) <= 6
            and is_pin(int(pin)),
        }
        broken = [rule for rule, kept in rules.items() if not kept]
        faults += [f"{file} row {row}: {rule}" for rule in broken]
        if not broken:
            found[lfdi] = int(pin)
    if faults:
        raise stop("\n".join(faults))
    return found


def hosts_of(words: str) -> tuple[str, ...]:
    """Hosts with commas between them, or of a file with one in each line."""
    from gridflock.runtime.devices import is_host

    file = Path(words)
    lines = _text(file).splitlines() if words and file.is_file() else words.split(",")
    hosts = [line.partition("#")[0].strip() for line in lines]
    wrong = [host for host in hosts if host and not is_host(host)]
    if wrong:
        raise stop(f"notify-hosts: {wrong[0]!r} (rule: names of hosts, or a file with one in each line)")
    return tuple(host for host in hosts if host)


def _pairs(file: Path) -> list[tuple[str, str]]:
    """Two columns of a file."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(_text(file).splitlines()) if row]
    return [(row[0], row[1] if len(row) > 1 else "") for row in rows if row[0]]


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise stop(f"{file}: {error}") from error


def _path(lfdi: str) -> str:
    return f"/api/devices/{quote(lfdi)}"


def _access(remote: Remote, lfdi: str, access: str, words: tuple[str, str], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    resource, why = words
    body = {"access": access, "resource": resource, "why": why}
    show(remote.ask("PUT", f"{_path(lfdi)}/access", body=body), as_json)


def _glance(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    """The server on the screen: lines, and its counts as a table."""
    show(answer, as_json, rows=[{"cause": name, "count": n} for name, n in sorted(answer["counts"].items())])


def _detail(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    """A device on the screen: lines, and what hangs on it as tables."""
    if as_json:
        show(answer, as_json)
        return
    lists = ("effective", "responses", "logs", "subscriptions")
    show(answer["device"] | {k: v for k, v in answer.items() if k not in ("device", *lists)}, as_json)
    for name in lists:
        show([], as_json, rows=answer[name])


def _rates(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 - a flag passed on
    """Rates on the screen: of all, and of those who have their own."""
    rows = [{"whom": "all", "what": f"ask for {kind}", "every s": n} for kind, n in answer["poll_s"].items()]
    rows.append({"whom": "all", "what": "report", "every s": answer["post_s"]})
    for own in answer["own"]:
        rows += [
            {"whom": own["lfdi"], "what": f"ask for {k}", "every s": n} for k, n in own["poll_s"].items()
        ]
        if own["post_s"] is not None:
            rows.append({"whom": own["lfdi"], "what": "report", "every s": own["post_s"]})
    show(answer, as_json, rows=rows)
