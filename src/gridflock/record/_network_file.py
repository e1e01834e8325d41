"""A network in one file, ``.gfnet``: a zip of plain NumPy arrays beside a header of names.

::

    header.json      format, version, names, and what is no array
    <column>.npy     one array each, as ``_network_columns.py`` lists them

Nothing is compressed and every time stamp is the same, so equal networks give equal bytes, and what a
file declares is what it holds. The archive's comment is the SHA-256 of all bytes before it: a
truncated or altered file is refused as a whole. A checksum is no signature, so every column is
checked all the same: type, shape, range, and rows that point where there is something.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import Network
from gridflock.grid._admittance import idle_voltages
from gridflock.grid._network import Blocks, Capacitors, Regulators
from gridflock.grid.build._document import Faults
from gridflock.record._disk import write_whole
from gridflock.record._errors import RecordError, of_system
from gridflock.record._network_columns import CHOICES, COLUMNS, TEXTS, UNIQUE, Column, Sizes, range_fault

FORMAT = "gridflock network"
VERSION = 1
MOST_BYTES = 1 << 30
MOST_HEADER_BYTES = 1 << 26
MOST_TEXT = 4096
STAMP = (1980, 1, 1, 0, 0, 0)
HEADER = "header.json"
MARK = b"sha256:"
SEAL = len(MARK) + 64
NUMBERS = ("latitude", "longitude")
Arrays = dict[str, NDArray[Any]]


def save_network(path: Path, network: Network) -> None:
    """Write a network; equal networks give equal bytes. By custom the name ends in ``.gfnet``.

    Args:
        path: file, replaced as a whole; a reader sees the old or the new one.
        network: any version.

    Raises:
        RecordError: no space, or the file system refuses; the former file still stands.
    """
    write_whole(path, _sealed(network))


def load_network(path: Path) -> Network:
    """Read a network that ``save_network`` wrote. Its derived columns are found anew.

    Raises:
        FeederRejected: not such a file, truncated, altered, written by a later version, or with
            columns that cannot be a network; every fault found is named.
        RecordError: it cannot be read.
    """
    data = _read(path)
    faults = _FileFaults(path.name)
    entries = _unsealed(data, faults)
    faults.stop_if_any()
    header = _header(entries.pop(HEADER), faults)
    faults.stop_if_any()
    sizes = Sizes()
    texts = _texts(header, sizes, faults)
    arrays = _arrays(entries, sizes, faults)
    faults.stop_if_any()
    for column in COLUMNS:
        faults.note(column.name, range_fault(column, arrays[column.name], sizes))
    faults.stop_if_any()
    _check_together(arrays, faults)
    faults.stop_if_any()
    with np.errstate(all="ignore"):
        network = _network(header, texts, arrays)
        idle_voltages(network, faults)
    faults.stop_if_any()
    return network


class _FileFaults(Faults):
    """The faults of one file, by the column they were found in."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def note(self, field: str, reason: str) -> None:
        """Note one; an empty reason is none."""
        if reason:
            self.add("network file", self._name, field, reason)


def _value(network: Network, name: str) -> Any:  # noqa: ANN401 a column or a list of texts
    found: Any = network
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _sealed(network: Network) -> bytes:
    header = {
        "format": FORMAT,
        "format_version": VERSION,
        "name": network.name,
        "timezone": network.timezone,
        "version": network.version,
        **{name: _or_none(getattr(network, name)) for name in NUMBERS},
        "texts": {name: list(_value(network, name)) for name in TEXTS},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = MARK + b"0" * 64
        _put(archive, HEADER, json.dumps(header, ensure_ascii=False, allow_nan=False).encode("utf-8"))
        for column in COLUMNS:
            values = np.ascontiguousarray(_value(network, column.name)).astype(column.dtype, casting="equiv")
            entry = io.BytesIO()
            np.lib.format.write_array(entry, values, version=(1, 0), allow_pickle=False)
            _put(archive, f"{column.name}.npy", entry.getvalue())
    data = buffer.getvalue()[:-64]
    return data + hashlib.sha256(data[: -len(MARK)]).hexdigest().encode("ascii")


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, STAMP)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    archive.writestr(entry, data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise of_system(error, path) from error
    if len(data) > MOST_BYTES:
        raise RecordError(f"{path}: larger than {MOST_BYTES} bytes, no network file")
    return data


def _unsealed(data: bytes, faults: _FileFaults) -> dict[str, bytes]:
    """Header and arrays as bytes, the checksum and the list of names checked."""
    body, seal = data[:-SEAL], data[-SEAL:]
    if not seal.startswith(MARK):
        faults.note("checksum", f"no {FORMAT} file, or its end is missing")
        return {}
    if hashlib.sha256(body).hexdigest().encode("ascii") != seal[len(MARK) :]:
        faults.note("checksum", "does not fit the content: the file is damaged or was altered")
        return {}
    wanted = [HEADER, *(f"{column.name}.npy" for column in COLUMNS)]
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if HEADER not in names or packed or sum(entry.file_size for entry in entries) > len(data):
                faults.note("archive", f"not written as a {FORMAT} file")
                return {}
            found = {name: archive.read(name) for name in names if name in wanted}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        faults.note("archive", f"cannot be read: {error}")
        return {}
    _check_names(names, wanted, found[HEADER], faults)
    return found


def _check_names(names: list[str], wanted: list[str], header: bytes, faults: _FileFaults) -> None:
    if len(header) > MOST_HEADER_BYTES:
        faults.note(HEADER, f"larger than {MOST_HEADER_BYTES} bytes")
    for name in wanted:
        if name not in names:
            faults.note(name.removesuffix(".npy"), "missing")
    for name in sorted(set(names) - set(wanted)):
        faults.note(name, "no column of a network")
    if len(set(names)) < len(names):
        faults.note("archive", "a column is there twice")


def _header(data: bytes, faults: _FileFaults) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        faults.note(HEADER, f"cannot be read: {error}")
        return {}
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        faults.note("format", f"not {FORMAT!r}")
        return {}
    if header.get("format_version") != VERSION:
        later = f"{header.get('format_version')!r}; this Gridflock reads {VERSION}"
        faults.note("format_version", f"written as {later}")
        return {}
    for name in ("name", "timezone"):
        if not isinstance(header.get(name), str) or len(header[name]) > MOST_TEXT:
            faults.note(name, "expected a text")
    for name in NUMBERS:
        value = header.get(name)
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            faults.note(name, f"expected a finite number, got {value!r}")
    count = header.get("version")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        faults.note("version", f"expected a whole number not below 0, got {count!r}")
    return header


def _texts(header: dict[str, Any], sizes: Sizes, faults: _FileFaults) -> dict[str, tuple[str, ...]]:
    given = header.get("texts")
    found: dict[str, tuple[str, ...]] = {}
    for name, dimension in TEXTS.items():
        values = given.get(name) if isinstance(given, dict) else None
        if not isinstance(values, list) or not all(
            isinstance(v, str) and len(v) <= MOST_TEXT for v in values
        ):
            faults.note(name, f"expected a list of texts of at most {MOST_TEXT} characters")
            continue
        found[name] = tuple(values)
        if not sizes.fits(dimension, len(values)):
            faults.note(name, f"{len(values)} texts do not fit the number of {dimension}")
        if name in UNIQUE and len(set(values)) < len(values):
            faults.note(name, "a name is there twice")
        for value in sorted(set(values) - CHOICES.get(name, set(values)))[:1]:
            faults.note(name, f"{value!r} is none of {', '.join(sorted(CHOICES[name]))}")
    return found


def _arrays(entries: dict[str, bytes], sizes: Sizes, faults: _FileFaults) -> Arrays:
    found = {}
    for column in COLUMNS:
        try:
            found[column.name] = _array(entries[f"{column.name}.npy"], column, sizes)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            faults.note(column.name, str(error) or "cannot be read")
    return found


def _array(data: bytes, column: Column, sizes: Sizes) -> NDArray[Any]:
    """One array, once its type and shape are those of its column and fit its bytes.

    Raises:
        ValueError: they do not; NumPy's own reader of the array's head raises others, too.
    """
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array format this Gridflock does not read")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype(column.dtype) or by_columns:
        raise ValueError(f"expected {np.dtype(column.dtype)} row by row, got {dtype}")
    body = data[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{len(body)} bytes for shape {shape}")
    fits = [sizes.fits(*pair) for pair in zip(column.shape, shape, strict=False)]
    if len(shape) != len(column.shape) or not all(fits):
        raise ValueError(f"shape {shape} does not fit {column.shape}")
    if dtype.kind == "b" and body.strip(b"\x00\x01"):
        raise ValueError("a truth value that is neither 0 nor 1")
    return np.frombuffer(body, dtype=dtype).reshape(shape).copy()


def _check_together(arrays: Arrays, faults: _FileFaults) -> None:
    """What single columns cannot show."""
    place = arrays["node_bus"].astype(np.int64) * 256 + arrays["node_conductor"]
    if (np.diff(place) <= 0).any():
        faults.note("node_bus", "nodes are not in order of bus and conductor, each once")
    if len(np.unique(arrays["source_of"])) != len(arrays["source_out"]):
        faults.note("source_of", "a source has no conductor")
    if (np.diff(arrays["source_of"]) < 0).any():
        faults.note("source_of", "sources are not in order")
    if (arrays["load_range"][:, 1] > arrays["load_range"][:, 2]).any():
        faults.note("load_range", "low lies above high")
    for name in ("branch_blocks", "shunt_blocks"):
        size = np.diff(arrays[f"{name}.start"]).astype(np.int64)
        if (size < 1).any() or arrays[f"{name}.start"][-1] != len(arrays[f"{name}.node"]):
            faults.note(
                f"{name}.start", "an element has no conductor, or there are more or fewer than it says"
            )
            continue
        if (np.diff(arrays[f"{name}.y_start"]) != size**2).any():
            faults.note(f"{name}.y_start", "blocks do not have the size of their conductors squared")
        owner = np.repeat(np.arange(len(size)), size)
        step = np.diff(arrays[f"{name}.end"].astype(np.int64))
        first = arrays[f"{name}.end"][arrays[f"{name}.start"][:-1]]
        if first.any() or not np.isin(step[np.diff(owner) == 0], (0, 1)).all():
            faults.note(f"{name}.end", "ends of an element are not in order")


def _network(header: dict[str, Any], texts: dict[str, tuple[str, ...]], arrays: Arrays) -> Network:
    values: dict[str, Any] = {**texts, **arrays}
    whole: dict[str, Any] = {name: v for name, v in values.items() if "." not in name}
    for name, kind in (
        ("branch_blocks", Blocks),
        ("shunt_blocks", Blocks),
        ("regulators", Regulators),
        ("capacitors", Capacitors),
    ):
        own = {k.partition(".")[2]: v for k, v in values.items() if k.startswith(f"{name}.")}
        whole[name] = kind(**own)
    for name in NUMBERS:
        whole[name] = math.nan if header[name] is None else float(header[name])
    return Network(name=header["name"], timezone=header["timezone"], version=header["version"], **whole)
