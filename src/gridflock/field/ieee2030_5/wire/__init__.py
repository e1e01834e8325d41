"""Bytes to resources and back: pure functions, no I/O.

``read(body, expected, profile)`` answers with a resource of an expected class or with ``Malformed``: where,
what for the log, and the reason code the sender is told (``malformed.error()`` is the body to answer with).
It refuses document types, entities, other encodings than UTF-8, unknown elements, missing or repeated ones,
values out of bounds; nothing a body holds raises.

``write(resource, profile)`` is a schema-valid document for a client of that profile. For lists that are
shown often, ``item`` renders one item once and ``listed`` joins items into a page. ``spoken(body)`` is the
profile whose elements a first body uses, for a client that is not known yet.
"""

from gridflock.field.ieee2030_5.wire._malformed import Malformed
from gridflock.field.ieee2030_5.wire._parse import MOST_BYTES, spoken
from gridflock.field.ieee2030_5.wire._read import read
from gridflock.field.ieee2030_5.wire._write import item, listed, write

__all__ = ["MOST_BYTES", "Malformed", "item", "listed", "read", "spoken", "write"]
