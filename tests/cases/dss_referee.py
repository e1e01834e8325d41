"""OpenDSS compiling a master file as it was written: nothing of our own reading takes part.

The files are run whole, reports and plots included, and may write beside themselves: only ever on a copy.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TAP_STEP = 0.00625
TOLERANCE = 1e-9


def copied(collection, folder):
    """A copy of a collection of feeders, for files that write beside themselves."""
    return Path(shutil.copytree(collection, folder / collection.name))


@dataclass(frozen=True)
class Judgement:
    """What the engine makes of a file.

    Attributes:
        volts: complex V by ``bus.conductor``, lower case.
        taps: position of each regulator control by name, lower case.
        cap_on: state of each capacitor bank by name, lower case.
        losses_kw: of all elements.
    """

    volts: dict
    taps: dict
    cap_on: dict
    losses_kw: float


def judged(master, taps=None, limits=None):
    """Compile a master file unfiltered, hold its controls, solve tightly, and read every node.

    Args:
        master: the file, in a copy of its collection.
        taps: position of regulator transformers by name, winding 2 tapped; None: as the file's own
            solving left them.
        limits: pu voltages between which the law of every load holds, instead of the file's.

    Raises:
        ArithmeticError: the engine does not solve it.
    """
    from dss import DSS

    engine = DSS.NewContext()
    engine.AllowForms = engine.AllowEditor = engine.AllowChangeDir = False
    engine.DataPath = str(master.parent)
    commands = [f'compile "{master}"', "set mode=snapshot", "set controlmode=off"]
    if limits is not None:
        commands.append(f"batchedit load..* vminpu={limits[0]} vmaxpu={limits[1]}")
    for name, tap in (taps or {}).items():
        commands.append(f"transformer.{name}.wdg=2 tap={1.0 + TAP_STEP * tap:.15g}")
    for command in (*commands, f"set tolerance={TOLERANCE}", "set maxiterations=5000", "solve"):
        engine.Text.Command = command
    circuit = engine.ActiveCircuit
    if not circuit.Solution.Converged:
        raise ArithmeticError(f"OpenDSS does not solve {master}")
    volts = np.asarray(circuit.YNodeVarray).view(np.complex128)
    return Judgement(
        {name.lower(): complex(v) for name, v in zip(circuit.YNodeOrder, volts, strict=True)},
        {control.Name.lower(): int(control.TapNumber) for control in circuit.RegControls},
        {bank.Name.lower(): any(state > 0 for state in bank.States) for bank in circuit.Capacitors},
        float(circuit.Losses[0]) / 1000.0,
    )
