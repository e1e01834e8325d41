"""Names that resources have with others: checked, looked up, and found where two claim one.

``canonical`` brings a name into one form, ``Directory`` finds the resource behind any of its names, and
``faults`` and ``duplicates`` tell what is wrong with them.
"""

from gridflock.fleet.registry.identities._directory import Directory, Duplicate, duplicates
from gridflock.fleet.registry.identities._forms import FORMS, canonical, canonical_column, misfits

__all__ = ["FORMS", "Directory", "Duplicate", "canonical", "canonical_column", "duplicates", "misfits"]
