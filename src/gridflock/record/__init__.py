"""What we remember: a hash-chained ledger, history, and snapshots, in one folder.

::

    <folder>/
    ├── ledger.sqlite    every proposal, order, outcome and change, in order      _ledger.py
    ├── history/         measured and decided values as Parquet, by table and day _history.py
    ├── snapshots/       named bytes, replaced atomically                         _record.py
    └── writer.lock      held by the one process that may write                   _disk.py

``append`` returns once its entries survive a killed process and a power cut (CONVENTIONS §9);
``_chain.py`` binds each entry to the one before, ``_columns.py`` turns arrays into bytes,
``_errors.py`` draws the tree of what can go wrong. Beside that folder, ``save_network`` and
``load_network`` keep a network in one file (``.gfnet``, ``_network_file.py``).
"""

from gridflock.record._chain import chained
from gridflock.record._errors import RecordBroken, RecordBusy, RecordError, RecordFull, RecordReadOnly
from gridflock.record._network_file import load_network, save_network
from gridflock.record._record import SqliteRecord, open_record

__all__ = [
    "RecordBroken",
    "RecordBusy",
    "RecordError",
    "RecordFull",
    "RecordReadOnly",
    "SqliteRecord",
    "chained",
    "load_network",
    "open_record",
    "save_network",
]
