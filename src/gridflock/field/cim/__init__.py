"""CIM: distribution feeders in the Common Information Model (IEC 61970-301, 61968-11 and -13).

``read_cim`` reads one RDF/XML file of the distribution profile (CIM100, CIM17; SI units) and makes
``Parts`` that ``gridflock.grid.build.assemble`` turns into a network. What the file says and a
steady-state model cannot represent is refused by name, identifier and line; what does not matter to
one is listed in the notes. It needs the extra ``gridflock[cim]``; without it ``CimMissing`` is raised.
Files are untrusted: ``Limits`` bounds their size.
"""

from gridflock.field.cim._read import read_cim
from gridflock.field.cim._xml import CimMissing, Limits

__all__ = ["CimMissing", "Limits", "read_cim"]
