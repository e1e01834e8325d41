"""One door for feeder files of every kind."""

from __future__ import annotations

import json
from pathlib import Path

from gridflock.field import cim, opendss
from gridflock.grid import Network
from gridflock.grid.build import FeederRejected, assemble, from_document
from gridflock.record import RecordError, load_network, save_network
from gridflock.sim import UnknownFeeder, feeder_document

DOCUMENT_BYTES = 64 * 2**20
"""A feeder document is never larger; a file that is, is not read."""


class FeederUnreadable(Exception):  # noqa: N818 - bad input, told whole
    """A feeder that cannot become a network.

    Attributes:
        lines: what is wrong, one fault a line, with file, line and element where they are known.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def read(source: str, root: Path | None = None) -> Network:
    """A network alone; as ``read_with_shapes``.

    Raises:
        FeederUnreadable: with every fault found.
    """
    return read_with_shapes(source, root)[0]


def read_with_shapes(source: str, root: Path | None = None) -> tuple[Network, opendss.Shapes | None]:
    """A network from a file, by its ending, or from a packed feeder's name.

    Args:
        source: path of a ``.dss`` master, a CIM ``.xml``, a feeder document ``.json``, a saved
            ``.gfnet``; or the name of a packed feeder (``ieee123``).
        root: folder that a ``.dss`` master may not lead out of; ``collection`` of it where None.

    Returns:
        The network, and the load shapes its ports follow where the file has any.

    Raises:
        FeederUnreadable: with every fault found.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        if suffix == ".dss":
            parts, shapes = opendss.read_dss(path, root or collection(path))
            return assemble(parts), shapes
        if suffix == ".xml":
            return assemble(cim.read_cim(path)), None
        if suffix == ".gfnet":
            return load_network(path), None
        return from_document(_document(path) if suffix == ".json" else feeder_document(source)), None
    except FeederRejected as error:
        raise FeederUnreadable(fault_lines(error)) from error
    except UnknownFeeder as error:
        words = "no such packed feeder; a file ends in .dss, .xml, .json or .gfnet"
        raise FeederUnreadable([f"{source}: {words}"]) from error
    except (RecordError, ImportError, OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise FeederUnreadable([f"{source}: {error}"]) from error


def collection(master: Path) -> Path:
    """The folder of the feeder collection: the one that holds the master's folder.

    Masters of one collection share files beside their folders (line codes). Where that would be
    somebody's home, the folder of all homes or the whole disk, it is the master's own folder.
    """
    own, home = master.resolve().parent, Path.home().resolve()
    above = own.parent
    return own if above in {Path(own.anchor), home, home.parent} else above


def save(network: Network, target: Path) -> None:
    """Write a network as ``.gfnet``, whole or not at all.

    Raises:
        FeederUnreadable: another ending than ``.gfnet``, or the file cannot be written.
    """
    if target.suffix.lower() != ".gfnet":
        raise FeederUnreadable([f"{target}: a saved network ends in .gfnet, by which it is read again"])
    try:
        if target.exists() and not target.is_file():
            raise FeederUnreadable([f"{target}: no plain file, and is not replaced"])
        save_network(target, network)
    except (RecordError, OSError) as error:
        raise FeederUnreadable([str(error)]) from error


def _document(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise FeederUnreadable([f"{path}: no such file"])
    if path.stat().st_size > DOCUMENT_BYTES:
        raise FeederUnreadable([f"{path}: larger than {DOCUMENT_BYTES // 2**20} MiB"])
    try:
        document = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FeederUnreadable([f"{path}: not JSON: {error}"]) from error
    if not isinstance(document, dict):
        raise FeederUnreadable([f"{path}: not a feeder document: expected an object"])
    return document


def fault_lines(error: FeederRejected) -> list[str]:
    """Every fault as one line: element, field, reason."""
    return [f"{r.component} {', '.join(r.ids)}: {r.field}: {r.reason}" for r in error.rejected]
