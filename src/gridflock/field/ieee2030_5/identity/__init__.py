"""Who somebody is: identifiers from certificates, judging them, and a small authority that makes them.

``lfdi_of`` and ``sfdi_of`` follow from a certificate alone. ``Trust`` holds the authorities of a network and
judges a chain by IEEE 2030.5's profile; ``Denied`` is what issuers and operators took back. ``Authority`` is
the folder behind ``gridflock pki``. A registry says what somebody may do; nothing here does.
"""

from gridflock.field.ieee2030_5.identity._authority import Authority
from gridflock.field.ieee2030_5.identity._denied import Denied, denied_from
from gridflock.field.ieee2030_5.identity._hardware import HardwareName
from gridflock.field.ieee2030_5.identity._identifiers import (
    is_lfdi,
    is_pin,
    lfdi_of,
    sfdi_of,
)
from gridflock.field.ieee2030_5.identity._judge import Standing
from gridflock.field.ieee2030_5.identity._trust import CertificatesRejected, Trust, trust_from

__all__ = [
    "Authority",
    "CertificatesRejected",
    "Denied",
    "HardwareName",
    "Standing",
    "Trust",
    "denied_from",
    "is_lfdi",
    "is_pin",
    "lfdi_of",
    "sfdi_of",
    "trust_from",
]
