"""Which words of an OpenDSS file are passed on, which are only told, and which are refused.

A feeder file comes from somebody else. The engine's language can also write files, start programs
and load libraries, so only what describes a network is passed on, by lists of what is allowed.
"""

from __future__ import annotations

from enum import Enum


class Fate(Enum):
    """What becomes of a word."""

    PASSED = "passed on to the engine"
    READ = "done here"
    TOLD = "left out, told in the notes"
    SILENT = "left out, of no consequence"


VERBS: dict[str, Fate] = {
    **dict.fromkeys(
        (
            "new",
            "edit",
            "more",
            "m",
            "~",
            "clear",
            "clearall",
            "batchedit",
            "open",
            "close",
            "enable",
            "disable",
            "setkvbase",
            "calcvoltagebases",
            "makebuslist",
            "reprocessbuses",
        ),
        Fate.PASSED,
    ),
    **dict.fromkeys(
        ("set", "solve", "redirect", "compile", "buscoords", "latlongcoords", "giscoords", "setbusxy"),
        Fate.READ,
    ),
    **dict.fromkeys(
        (
            "show",
            "plot",
            "export",
            "visualize",
            "dump",
            "save",
            "cd",
            "fileedit",
            "formedit",
            "di_plot",
            "comparecases",
            "yearlycurves",
            "summary",
            "voltages",
            "currents",
            "powers",
            "losses",
            "seqvoltages",
            "seqcurrents",
            "seqpowers",
            "phaselosses",
            "cktlosses",
            "puvoltages",
            "nodelist",
            "get",
            "?",
            "sample",
            "reset",
            "closedi",
            "uuids",
            "interpolate",
            "addbusmarker",
            "clearbusmarkers",
            "estimate",
            "relcalc",
            "calcincmatrix",
            "calcincmatrix_o",
            "calclaplacian",
        ),
        Fate.TOLD,
    ),
    **dict.fromkeys(
        ("help", "quit", "about", "panel", "select", "//", "totals", "capacity", "classes", "userclasses"),
        Fate.SILENT,
    ),
}

OPTIONS: dict[str, Fate] = {
    **dict.fromkeys(
        (
            "voltagebases",
            "defaultbasefrequency",
            "basefrequency",
            "earthmodel",
            "loadmult",
            "genmult",
            "allocationfactors",
            "cfactors",
            "longlinecorrection",
        ),
        Fate.PASSED,
    ),
    **dict.fromkeys(
        (
            "mode",
            "number",
            "stepsize",
            "hour",
            "sec",
            "time",
            "h",
            "random",
            "controlmode",
            "defaultdaily",
            "defaultyearly",
            "ldcurve",
            "%growth",
            "pricesignal",
            "pricecurve",
            "trapezoidal",
        ),
        Fate.TOLD,
    ),
    **dict.fromkeys(
        (
            "algorithm",
            "tolerance",
            "maxiterations",
            "maxcontroliter",
            "miniterations",
            "tracecontrol",
            "autobuslist",
            "demandinterval",
            "diverbose",
            "overloadreport",
            "voltexceptionreport",
            "casename",
            "editor",
            "log",
            "querylog",
            "recorder",
            "registryupdate",
            "showexport",
            "showreports",
            "eventlogdefault",
            "sampleenergymeters",
            "processtime",
            "nodewidth",
            "markercode",
            "markswitches",
            "switchmarkercode",
            "marktransformers",
            "transmarkercode",
            "transmarkersize",
            "daisysize",
            "markcapacitors",
            "markregulators",
            "markpvsystems",
            "markstorage",
            "markfuses",
            "markreclosers",
            "markrelays",
            "normvminpu",
            "normvmaxpu",
            "emergvminpu",
            "emergvmaxpu",
            "%normal",
            "%mean",
            "%stddev",
            "zonelock",
            "ueweight",
            "lossweight",
            "ueregs",
            "lossregs",
            "numallociterations",
            "allowduplicates",
            "neglectloady",
            "numcpus",
            "numcores",
            "parallel",
            "linetypes",
            "seasonrating",
            "seasonsignal",
        ),
        Fate.SILENT,
    ),
}

CLASSES: dict[str, Fate] = {
    **dict.fromkeys(
        (
            "circuit",
            "vsource",
            "line",
            "load",
            "transformer",
            "autotrans",
            "capacitor",
            "reactor",
            "fault",
            "regcontrol",
            "capcontrol",
            "generator",
            "pvsystem",
            "storage",
            "linecode",
            "linegeometry",
            "linespacing",
            "wiredata",
            "cndata",
            "tsdata",
            "xfmrcode",
            "loadshape",
            "xycurve",
            "growthshape",
            "tshape",
        ),
        Fate.PASSED,
    ),
    **dict.fromkeys(
        (
            "energymeter",
            "monitor",
            "sensor",
            "fuse",
            "relay",
            "recloser",
            "swtcontrol",
            "invcontrol",
            "expcontrol",
            "storagecontroller",
            "gendispatcher",
            "espvlcontrol",
            "spectrum",
            "tcc_curve",
            "priceshape",
        ),
        Fate.TOLD,
    ),
}

MEANING = {
    "energymeter": "a meter",
    "monitor": "a recorder",
    "sensor": "a meter",
    "swtcontrol": "no switching by itself",
    "invcontrol": "its curve is not read: inverters stay at their snapshot power",
    "expcontrol": "its curve is given to the series, the snapshot runs without",
    "storagecontroller": "storage holds its written state",
}
"""Why a class is left out, where its name does not say so by itself."""

FILE_CLASSES: dict[str, frozenset[str]] = {
    "loadshape": frozenset(
        (
            *("npts", "interval", "sinterval", "minterval", "hour", "mean", "stddev", "mult", "pmult"),
            *("qmult", "useactual", "pmax", "qmax", "pbase", "qbase", "interpolation", "like"),
        )
    ),
    "xycurve": frozenset(
        ("npts", "points", "xarray", "yarray", "x", "y", "xshift", "yshift", "xscale", "yscale", "like")
    ),
    "growthshape": frozenset(("npts", "year", "mult", "like")),
    "tshape": frozenset(
        ("npts", "interval", "sinterval", "minterval", "temp", "hour", "mean", "stddev", "like")
    ),
}
"""Classes that read or write files: their properties are named in full and only these are passed."""

FILE_PROPERTIES = frozenset(("csvfile", "sngfile", "dblfile", "pqcsvfile"))
"""Properties whose value is a file, in the classes above."""

GUARDED: dict[str, tuple[str, ...]] = {
    "generator": ("usermodel", "userdata", "shaftmodel", "shaftdata", "debugtrace", "dynamiceq", "dynout"),
    "pvsystem": ("usermodel", "userdata", "debugtrace", "dynamiceq", "dynout"),
    "storage": ("dynadll", "dynadata", "usermodel", "userdata", "debugtrace", "dynamiceq", "dynout"),
    "capcontrol": ("usermodel", "userdata"),
    "regcontrol": ("debugtrace",),
}
"""Properties that load a library or write a file, by class."""

LEADING: dict[str, tuple[str, ...]] = {
    "line": ("bus1", "bus2", "linecode", "length", "phases"),
    "vsource": ("bus1", "basekv", "pu", "angle", "frequency", "phases"),
    "circuit": ("bus1", "basekv", "pu", "angle", "frequency", "phases"),
    **dict.fromkeys(("capacitor", "reactor", "fault"), ("bus1", "bus2", "phases")),
    **dict.fromkeys(("load", "generator", "pvsystem", "storage"), ("phases",)),
    **dict.fromkeys(("transformer", "autotrans", "xfmrcode"), ("phases", "windings")),
    **dict.fromkeys(("linegeometry", "linespacing"), ("nconds", "nphases")),
    "linecode": ("nphases",),
}
"""First properties of a class in the engine's order, up to the last that is a count."""

COUNTS: dict[str, int] = {
    "phases": 30,
    "nphases": 30,
    "nconds": 30,
    "windings": 20,
    "numsteps": 1000,
    "seasons": 1000,
    "npts": 10_000_000,
}
"""Properties that make the engine reserve memory, and the most that is believed.

With 70 phases the engine writes beyond what it has reserved and takes the process with it.
"""

WOUND = frozenset(("transformer", "autotrans", "xfmrcode"))
MOST_WOUND_PHASES = 3
"""Phases of a transformer: given more after its windings, the engine writes beyond its memory."""


def resolve(word: str, known: dict[str, Fate]) -> str | None:
    """The full form of a word, which may be cut short where that is unambiguous; None if unknown."""
    if word in known:
        return word
    longer = [name for name in known if name.startswith(word)]
    return longer[0] if len(longer) == 1 else None
