"""Keys and certificates on disk: written once, keys for their owner's eyes only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

SECRET, PUBLIC = 0o600, 0o644


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there, durably, with its mode from the first byte on.

    Raises:
        FileExistsError: it is there.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_over(path: Path, data: bytes) -> None:
    """Replace a public file whole: who reads it sees the old one or the new one."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.unlink(missing_ok=True)
    write_new(fresh, data, PUBLIC)
    fresh.replace(path)


def write_pair(
    key_path: Path, key: ec.EllipticCurvePrivateKey, chain_path: Path, chain: Sequence[x509.Certificate]
) -> None:
    """Write a key and its chain, neither of which may be there."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(key_path, secret, SECRET)
    write_new(chain_path, pem(chain), PUBLIC)


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Certificates one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
