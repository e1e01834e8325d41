"""RDF/XML into things: bounded, without entities, document types or network.

A CIM file is a flat list of things, each with properties that are texts or references. Nothing else
is kept. A file is untrusted: its size and the number of its elements are limited, a document type
declaration is refused, and the parser neither expands entities nor opens anything by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gridflock.grid.build import Parts

MOST_BYTES = 512 * 1024 * 1024
MOST_ELEMENTS = 20_000_000
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
NAMED = "IdentifiedObject.name"


class CimMissing(ImportError):  # noqa: N818 reads as what is wrong
    """The optional component is not installed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a file may be.

    Attributes:
        most_bytes: size of the file.
        most_elements: XML elements in it.
    """

    most_bytes: int = MOST_BYTES
    most_elements: int = MOST_ELEMENTS


@dataclass(slots=True)
class Raw:
    """One thing as written.

    Attributes:
        kind: class name without namespace.
        id: its identifier without ``urn:uuid:``, ``#`` or leading underscore, lower case.
        line: line of its opening tag.
        values: texts and references (identifiers or last part of an enumeration) by property.
    """

    kind: str
    id: str
    line: int
    values: dict[str, list[str]] = field(default_factory=dict)


def things(path: Path, limits: Limits, parts: Parts) -> list[Raw]:
    """Everything a file describes, in its order; a thing described twice is one.

    What makes the file unreadable is noted in the faults of ``parts``.

    Raises:
        CimMissing: lxml is not installed.
    """
    try:
        from lxml import etree  # noqa: PLC0415 optional component
    except ImportError as error:
        raise CimMissing("lxml is not installed: pip install 'gridflock[cim]'") from error
    faults = parts.faults
    try:
        if not path.is_file():
            faults.add("file", str(path), "path", "no such file")
            return []
        size = path.stat().st_size
        if size > limits.most_bytes:
            faults.add("file", path.name, "size", f"{size} bytes, more than {limits.most_bytes}")
            return []
        with path.open("rb") as stream:
            return _Reader(etree, path.name, limits, parts).read(stream)
    except etree.XMLSyntaxError as error:
        faults.add("file", path.name, "xml", str(error.msg), error.lineno or 0)
    except OSError as error:
        faults.add("file", path.name, "path", error.strerror or "cannot be read")
    return []


class _Reader:
    """One pass over a file."""

    def __init__(self, etree: Any, name: str, limits: Limits, parts: Parts) -> None:  # noqa: ANN401 lxml carries no types
        self._etree = etree
        self._name = name
        self._limits = limits
        self._faults = parts.faults
        self._found: dict[str, Raw] = {}

    def read(self, stream: IO[bytes]) -> list[Raw]:
        events = self._etree.iterparse(
            stream, events=("end",), resolve_entities=False, no_network=True, load_dtd=False,
            dtd_validation=False, huge_tree=False, recover=False, remove_comments=True, remove_pis=True,
        )  # fmt: skip
        root = None
        for elements, (_, element) in enumerate(events, start=1):
            if elements > self._limits.most_elements:
                self._faults.add(
                    "file", self._name, "size", f"more than {self._limits.most_elements} elements"
                )
                return []
            if root is None:
                root = element.getroottree().getroot()
                if not self._is_rdf(root):
                    return []
            if element.getparent() is root:
                self._take(element)
                element.clear()
                while element.getprevious() is not None:
                    del root[0]
        return list(self._found.values())

    def _is_rdf(self, root: Any) -> bool:  # noqa: ANN401 lxml carries no types
        if root.getroottree().docinfo.doctype:
            self._faults.add("file", self._name, "xml", "a document type declaration is not accepted", 1)
            return False
        if root.tag != f"{RDF}RDF":
            self._faults.add("file", self._name, "xml", f"not RDF/XML: it begins with {root.tag}", 1)
            return False
        return True

    def _take(self, element: Any) -> None:  # noqa: ANN401 lxml carries no types
        kind = _local(element.tag)
        own = element.get(f"{RDF}about") or element.get(f"{RDF}ID")
        if not own:
            self._faults.add(kind, self._name, "rdf:about", "a thing without identifier", element.sourceline)
            return
        thing = self._found.setdefault(identifier(own), Raw(kind, identifier(own), element.sourceline))
        if kind not in {thing.kind, "Description"}:
            self._faults.add(kind, own, "rdf:about", f"also described as {thing.kind}", element.sourceline)
        for child in element:
            reference = child.get(f"{RDF}resource")
            value = identifier(reference) if reference else (child.text or "").strip()
            kept = thing.values.setdefault(_local(child.tag), [])
            if value not in kept:
                kept.append(value)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def identifier(text: str) -> str:
    """An identifier without its decoration; of an enumeration value the part after the dot."""
    base, hashed, fragment = text.strip().rpartition("#")
    if hashed and base and "." in fragment:
        return fragment.rpartition(".")[2]
    bare = fragment if hashed else text.strip().removeprefix("urn:uuid:")
    return bare.removeprefix("_").lower()
