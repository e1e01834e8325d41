"""From bytes to a tree, with nothing that XML could do beside it.

Refused before the parser sees it: a body too long, another encoding than UTF-8, a document type. The parser
then opens nothing, expands nothing, and is asked again whether there was a document type.
"""

from __future__ import annotations

import re
from typing import Any

from gridflock.field.ieee2030_5.resources import SEP, Profile, ReasonCode
from gridflock.field.ieee2030_5.wire._malformed import Wrong, shown

try:
    from lxml import etree
except ImportError as error:
    raise ImportError("lxml is not installed: pip install 'gridflock[ieee2030_5]'") from error

MOST_BYTES = 1024 * 1024
"""A longer body is refused; whoever receives it bounds it closer."""
MOST_BETWEEN = 4_096
"""Octets from one tag to the next: nothing read here is that long, and namespaces are costly."""
DRAFTS = ("http://ieee.org/2030.5", "http://zigbee.org/sep")
"""Namespaces of the editions before 2018."""
TRIAL = "https://csipaus.org/ns/v1.3-beta/storage"
"""Namespace in which the storage extension of CSIP-AUS was tried out before 1.3, and is still in use."""
_ENCODING = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"']*)[\"']")
_EXTENSION = re.compile(rb"xmlns:?[^=<>]{0,40}=\s{0,9}[\"'](https://csipaus[^\"']{0,40})[\"']")
_BOM = b"\xef\xbb\xbf"
_PARSER = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    attribute_defaults=False,
    huge_tree=False,
    recover=False,
    remove_comments=True,
    remove_pis=True,
    collect_ids=False,
)


def root_of(body: bytes) -> Any:  # noqa: ANN401 lxml carries no types
    """The root element of a body; it raises ``Wrong``."""
    if len(body) > MOST_BYTES:
        raise Wrong(f"{len(body)} bytes, more than {MOST_BYTES}", ReasonCode.LIMIT)
    if len(body) > MOST_BETWEEN and max(map(len, body.split(b"<"))) > MOST_BETWEEN:
        raise Wrong(f"has a tag or text of more than {MOST_BETWEEN} octets", ReasonCode.LIMIT)
    if b"\x00" in body or body.startswith((b"\xfe\xff", b"\xff\xfe")):
        raise Wrong("is not UTF-8")
    if b"<!" in body and (b"<!DOCTYPE" in body or b"<!ENTITY" in body):
        raise Wrong("has a document type")
    declared = _ENCODING.match(body.removeprefix(_BOM))
    if declared is not None and declared[1].lower() not in {b"utf-8", b"us-ascii"}:
        raise Wrong(f"is written in {shown(declared[1].decode('ascii', 'replace'))}, not in UTF-8")
    try:
        root = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as error:
        raise Wrong(f"is no XML: {shown(error.msg)}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Wrong("has a document type")
    return root


def settled(root: Any) -> None:  # noqa: ANN401 lxml carries no types
    """Give what stands in the trial's namespace the one it has had since CSIP-AUS 1.3."""
    since = f"{{{Profile.CSIPAUS13.extension}}}"
    for element in root.iter(f"{{{TRIAL}}}*"):
        element.tag = since + local(element.tag)


def stranger(root: Any) -> Wrong:  # noqa: ANN401 lxml carries no types
    """What to say of a root element nobody knows."""
    # Taken apart here: lxml's own QName raises for names that its parser lets pass.
    space, _, name = root.tag.removeprefix("{").rpartition("}")
    if space in DRAFTS:
        return Wrong(f"is written for a draft of IEEE 2030.5 before 2018 ({space})")
    if space != SEP:
        return Wrong(f"{shown(name)} is of namespace {shown(space)}, not {SEP}")
    return Wrong(f"{shown(name)} is not used here")


def spoken(body: bytes) -> Profile:
    """The latest profile whose namespace a body names."""
    named = {found[1].decode("ascii", "replace") for found in _EXTENSION.finditer(body)}
    return max(each for each in Profile if each.extension in named or not each.extension)


def local(tag: str) -> str:
    """An element's name without its namespace."""
    return tag.rpartition("}")[2]
