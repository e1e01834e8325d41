"""What all tests share: optional components, and closing lines that say what was left out and why."""

import os
import re
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# The first example of a law may have to compile; how fast the code is, `gridflock bench` says.
hypothesis.settings.register_profile("laws", deadline=None)
hypothesis.settings.load_profile("laws")

ROOT = Path(__file__).resolve().parents[1]
_DESELECTED = pytest.StashKey[int]()


def _require(component: str, present: object) -> None:
    if present:
        return
    if os.environ.get("GRIDFLOCK_REQUIRE_ALL") == "1":
        pytest.fail(f"{component} is missing and GRIDFLOCK_REQUIRE_ALL=1", pytrace=False)
    pytest.skip(f"{component} is missing")


@pytest.fixture(scope="session")
def require():
    """``require(component, present)``: go on if present, else skip with the reason.

    Under ``GRIDFLOCK_REQUIRE_ALL=1`` a missing component fails the test instead.
    """
    return _require


@pytest.fixture(scope="session")
def shared():
    """Folder of reference feeders and series: ``GRIDFLOCK_SHARED``, or ``shared`` beside the checkout."""
    folder = Path(os.environ.get("GRIDFLOCK_SHARED", str(ROOT.parent / "shared")))
    _require("the folder of reference data (GRIDFLOCK_SHARED)", folder.is_dir())
    return folder


def pytest_collection_modifyitems(items):
    """Stories first: they take longest, and what is left for the end should be short."""
    items.sort(key=lambda item: "story" not in item.path.parts)


# ---- closing lines -------------------------------------------------------------------------------


def pytest_configure(config):
    """Start counting."""
    config.stash[_DESELECTED] = 0


def pytest_deselected(items):
    """Count what ``-m`` or ``-k`` took away, here or in a worker of xdist."""
    if items:
        items[0].config.stash[_DESELECTED] += len(items)


def pytest_sessionfinish(session):
    """A worker hands its count to the controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = session.config.stash[_DESELECTED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Every worker collects everything, so the largest count is the whole."""
    stash = node.config.stash
    stash[_DESELECTED] = max(stash[_DESELECTED], getattr(node, "workeroutput", {}).get("deselected", 0))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """Say how many cases were left out, by reason: green is only what has run."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if config.stash[_DESELECTED]:
        reasons[f"not selected by {_selection(config)}"] += config.stash[_DESELECTED]
    terminalreporter.section("left out", sep="-")
    terminalreporter.line(f"{reasons.total()} cases left out" if reasons else "nothing left out")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:>6}  {reason}")


def _reason(report):
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return re.sub(r"^Skipped: ", "", text)


def _selection(config):
    chosen = [f"{flag} {config.getoption(name)!r}" for flag, name in (("-m", "markexpr"), ("-k", "keyword"))]
    return " ".join(text for text in chosen if not text.endswith("''")) or "the command line"
