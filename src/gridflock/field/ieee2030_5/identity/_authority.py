"""A small authority in a folder: what it has issued, and what it has taken back.

``authority/`` holds each authority's certificate and key, ``issued/`` a folder for each leaf with its chain
and key, ``trust.pem`` what a server or client trusts, ``revoked.pem`` the revocation lists and
``register.json`` what was done. Keys are readable by their owner alone. Certificates and keys are written
once; register and lists are replaced whole.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gridflock.field.ieee2030_5.identity._files import PUBLIC, SECRET, pem, write_new, write_over, write_pair
from gridflock.field.ieee2030_5.identity._hardware import HardwareName, hardware_name_said
from gridflock.field.ieee2030_5.identity._identifiers import lfdi_of, sfdi_of
from gridflock.field.ieee2030_5.identity._sign import (
    Signer,
    authority_certificate,
    device_certificate,
    new_key,
    revocation_list,
    root_certificate,
    service_certificate,
)
from gridflock.field.ieee2030_5.identity._trust import CertificatesRejected
from gridflock.field.ieee2030_5.identity._words import (
    DEVICE_GENERIC,
    DEVICE_MOBILE,
    DEVICE_POST_MANUFACTURE,
)
from gridflock.model import Rejected

DEVICE_KINDS = {
    "generic": DEVICE_GENERIC,
    "mobile": DEVICE_MOBILE,
    "post-manufacture": DEVICE_POST_MANUFACTURE,
}
_REGISTER, _LISTS, _TRUST = "register.json", "revoked.pem", "trust.pem"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(
    r"(?=.{1,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_DAY_S, _MOST_DAYS = 86_400, 3_650
_DEVICE_LEVELS, _SERVICE_LEVELS = ("mca", "mica"), ("pca", "services")
_SHORTEST, _LONGEST = 2, 4


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate in the register.

    Attributes:
        name: folder below ``issued/``.
        role: ``"device"`` or ``"service"``.
        lfdi: long form device identifier.
        sfdi: short form.
        serial: of the certificate, hexadecimal.
        issuer: name of the authority's files.
        details: what it was made from: type and serial of hardware, or hosts and days.
        issued_s: Unix seconds.
        revoked_s: Unix seconds; -1 while it stands.
        reason: why it was taken back.
        replaces: name of the one before.
    """

    name: str
    role: str
    lfdi: str
    sfdi: int
    serial: str
    issuer: str
    details: dict[str, Any]
    issued_s: int
    revoked_s: int = -1
    reason: str = ""
    replaces: str = ""


class Authority:
    """An authority's folder, opened.

    Args:
        folder: made by ``make``.

    Raises:
        CertificatesRejected: there is no authority in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state: dict[str, Any] = {}
        self._issued: list[Issued] = []
        self._signers: dict[str, Signer] = {}
        self._read()

    @classmethod
    def make(cls, folder: Path, name: str, now_s: int, *, tests: bool, length: int = _LONGEST) -> Authority:
        """Make keys and certificates of a new authority.

        Args:
            folder: new or empty.
            name: of the network, part of each authority's common name.
            now_s: the present, Unix seconds.
            tests: every certificate says that it is for tests.
            length: certificates in a chain, root and leaf counted: 2 to 4.

        Raises:
            CertificatesRejected: a rule is broken; nothing has been written.
        """
        faults = [*_name_faults("name", name)]
        if not _SHORTEST <= length <= _LONGEST:
            faults.append(_fault("length", name, f"{length} is not between {_SHORTEST} and {_LONGEST}"))
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            faults.append(_fault("folder", str(folder), "exists and is not an empty folder"))
        if faults:
            raise CertificatesRejected(faults)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "authority").mkdir(mode=0o700)
        (folder / "issued").mkdir(mode=0o700)
        key = new_key()
        root = Signer(root_certificate(key, f"{name} SERCA", length - 2, now_s), key)
        signers = {"serca": root}
        for levels in (_DEVICE_LEVELS, _SERVICE_LEVELS):
            above, kept = root, levels[len(levels) - (length - 2) :]
            for below, level in zip(range(len(kept) - 1, -1, -1), kept, strict=True):
                key = new_key()
                made = authority_certificate(
                    above, key.public_key(), f"{name} {level.upper()}", below, now_s,
                    devices=levels is _DEVICE_LEVELS, tests=tests,
                )  # fmt: skip
                above = signers[level] = Signer(made, key)
        for level, signer in signers.items():
            place = folder / "authority"
            write_pair(place / f"{level}.key", signer.key, place / f"{level}.pem", [signer.certificate])
        write_new(folder / _TRUST, pem(signer.certificate for signer in signers.values()), PUBLIC)
        state = {"name": name, "tests": tests, "length": length, "lists": 0, "certificates": []}
        write_over(folder / _REGISTER, json.dumps(state, indent=1).encode())
        authority = cls(folder)
        authority._save(now_s)
        return authority

    @property
    def name(self) -> str:
        """Of the network."""
        return str(self._state["name"])

    @property
    def tests(self) -> bool:
        """Whether its certificates are for tests."""
        return bool(self._state["tests"])

    @property
    def issued(self) -> tuple[Issued, ...]:
        """Everything issued, in order."""
        return tuple(self._issued)

    def issue_devices(
        self, devices: Sequence[tuple[str, HardwareName]], now_s: int, kind: str = "generic"
    ) -> list[Issued]:
        """Certificates of devices, each in a folder of its own.

        Args:
            devices: name and hardware of each.
            now_s: the present, Unix seconds.
            kind: a key of ``DEVICE_KINDS``.

        Raises:
            CertificatesRejected: a rule is broken; nothing has been written.
        """
        with self._writing(now_s):
            faults = [fault for name, _ in devices for fault in self._free(name)]
            faults += [fault for name, hardware in devices for fault in _hardware_faults(name, hardware)]
            if kind not in DEVICE_KINDS:
                faults.append(_fault("kind", kind, f"is none of {', '.join(DEVICE_KINDS)}"))
            if faults:
                raise CertificatesRejected(faults)
            return [self._device(name, hardware, kind, now_s) for name, hardware in devices]

    def issue_service(self, name: str, hosts: Sequence[str], days: int, now_s: int) -> Issued:
        """The certificate of an aggregator or a server.

        Args:
            name: common name.
            hosts: DNS names or numerical addresses it is reached by; at least one DNS name.
            days: how long it lasts.
            now_s: the present, Unix seconds.

        Raises:
            CertificatesRejected: a rule is broken; nothing has been written.
        """
        with self._writing(now_s):
            faults = [*self._free(name), *_host_faults(name, hosts)]
            if not 0 < days <= _MOST_DAYS:
                faults.append(_fault("days", name, f"{days} is not between 1 and {_MOST_DAYS}"))
            if faults:
                raise CertificatesRejected(faults)
            return self._service(name, hosts, days, now_s)

    def rotate(self, which: str, now_s: int) -> Issued:
        """A new key and certificate for whom one was issued; the old one stands until it is revoked.

        Args:
            which: name or LFDI.
            now_s: the present, Unix seconds.

        Raises:
            CertificatesRejected: nothing of the kind was issued, or it was revoked.
        """
        with self._writing(now_s):
            old = self._find(which)
            if old.revoked_s >= 0:
                raise CertificatesRejected([_fault("revoked", old.name, "is revoked: issue a new one")])
            stem = re.sub(r"\.\d+$", "", old.name)
            taken = {each.name for each in self._issued}
            name = next(n for k in range(2, len(taken) + 3) if (n := f"{stem}.{k}") not in taken)
            if old.role == "device":
                hardware = HardwareName(old.details["type"], bytes.fromhex(old.details["serial"]))
                new = self._device(name, hardware, old.details["kind"], now_s)
            else:
                new = self._service(name, old.details["hosts"], old.details["days"], now_s)
            self._issued[-1] = replace(new, replaces=old.name)
            return self._issued[-1]

    def revoke(self, which: str, reason: str, now_s: int) -> Issued:
        """Take a certificate back; doing so again changes nothing.

        Args:
            which: name or LFDI.
            reason: for people, kept in the register.
            now_s: the present, Unix seconds.

        Raises:
            CertificatesRejected: nothing of the kind was issued.
        """
        with self._writing(now_s):
            old = self._find(which)
            if old.revoked_s < 0:
                old = replace(old, revoked_s=now_s, reason=reason)
                self._issued = [old if each.name == old.name else each for each in self._issued]
            return old

    def _device(self, name: str, hardware: HardwareName, kind: str, now_s: int) -> Issued:
        key, level = new_key(), self._lowest(_DEVICE_LEVELS)
        made = device_certificate(
            self._signer(level), key.public_key(), hardware, DEVICE_KINDS[kind], now_s, tests=self.tests
        )
        details = {"type": hardware.kind, "serial": hardware.serial.hex(), "kind": kind}
        return self._enter(name, "device", key, made, level, details, now_s)

    def _service(self, name: str, hosts: Sequence[str], days: int, now_s: int) -> Issued:
        key, level = new_key(), self._lowest(_SERVICE_LEVELS)
        span_s = (now_s, now_s + days * _DAY_S)
        common = re.sub(r"\.\d+$", "", name)
        made = service_certificate(
            self._signer(level), key.public_key(), common, hosts, span_s, tests=self.tests
        )
        return self._enter(name, "service", key, made, level, {"hosts": [*hosts], "days": days}, now_s)

    def _enter(
        self, name: str, role: str, key: ec.EllipticCurvePrivateKey, made: x509.Certificate, level: str,
        details: dict[str, Any], now_s: int,
    ) -> Issued:  # fmt: skip
        place = self.folder / "issued" / name
        place.mkdir(mode=0o700)
        write_pair(place / "key.pem", key, place / "chain.pem", [made, *self._above(level)])
        lfdi = lfdi_of(made.public_bytes(Encoding.DER))
        entry = Issued(name, role, lfdi, sfdi_of(lfdi), f"{made.serial_number:x}", level, details, now_s)
        self._issued.append(entry)
        return entry

    def _lowest(self, levels: Sequence[str]) -> str:
        return levels[-1] if self._state["length"] > _SHORTEST else "serca"

    def _above(self, level: str) -> list[x509.Certificate]:
        """Certificates sent with a leaf: its issuers without the root, nearest first."""
        for levels in (_DEVICE_LEVELS, _SERVICE_LEVELS):
            if level in levels:
                kept = levels[len(levels) - (self._state["length"] - 2) :]
                return [self._certificate(each) for each in reversed(kept)]
        return []

    def _certificate(self, level: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "authority" / f"{level}.pem").read_bytes())

    def _signer(self, level: str) -> Signer:
        if level not in self._signers:
            key = load_pem_private_key((self.folder / "authority" / f"{level}.key").read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey), "an authority's key is on P-256"
            self._signers[level] = Signer(self._certificate(level), key)
        return self._signers[level]

    def _free(self, name: str) -> Iterator[Rejected]:
        yield from _name_faults("name", name)
        if any(each.name == name for each in self._issued):
            yield _fault("name", name, "was issued before: rotate it, or take another name")
        elif _NAME.fullmatch(name) and (self.folder / "issued" / name).exists():
            yield _fault("name", name, "has a folder that the register does not know")

    def _find(self, which: str) -> Issued:
        for each in self._issued:
            if which in {each.name, each.lfdi}:
                return each
        raise CertificatesRejected([_fault("name", which, "was never issued here")])

    @contextmanager
    def _writing(self, now_s: int) -> Iterator[None]:
        """One writer at a time; the register is read again first and saved if all went well."""
        lock = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, SECRET)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._read()
            yield
            self._save(now_s)
        finally:
            os.close(lock)

    def _read(self) -> None:
        try:
            self._state = json.loads((self.folder / _REGISTER).read_text("utf-8"))
            self._issued = [Issued(**each) for each in self._state["certificates"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CertificatesRejected(
                [_fault("folder", str(self.folder), f"holds no authority: {type(error).__name__}")]
            ) from error
        self._signers = {}

    def _save(self, now_s: int) -> None:
        self._state["certificates"] = [asdict(each) for each in self._issued]
        self._state["lists"] += 1
        levels = sorted(path.stem for path in (self.folder / "authority").glob("*.key"))
        lists = b"".join(
            revocation_list(
                self._signer(level),
                [
                    (int(e.serial, 16), e.revoked_s)
                    for e in self._issued
                    if e.issuer == level and e.revoked_s >= 0
                ],
                self._state["lists"],
                now_s,
            ).public_bytes(Encoding.PEM)
            for level in levels
        )
        write_over(self.folder / _REGISTER, json.dumps(self._state, indent=1).encode())
        write_over(self.folder / _LISTS, lists)


def _fault(field: str, which: str, reason: str) -> Rejected:
    return Rejected("certificate", field, (which,), reason)


def _name_faults(field: str, name: str) -> Iterator[Rejected]:
    if not _NAME.fullmatch(name):
        yield _fault(field, name, "is not 1 to 63 letters, digits, dots, hyphens and underscores")


def _hardware_faults(name: str, hardware: HardwareName) -> Iterator[Rejected]:
    try:
        hardware_name_said(hardware)
    except ValueError as error:
        yield _fault("hardware", name, str(error))


def _host_faults(name: str, hosts: Sequence[str]) -> Iterator[Rejected]:
    if not any(_HOST.fullmatch(host) for host in hosts):
        yield _fault("hosts", name, "has no DNS name")
    for host in hosts:
        if not _HOST.fullmatch(host) and not _is_address(host):
            yield _fault("hosts", name, f"{host!r} is neither a DNS name nor an address")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
