"""The closing lines tell the truth about what did not run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = '''
import pytest

def test_runs():
    """Runs."""

def test_needs(require):
    """Needs something."""
    require("the moon", present=False)

@pytest.mark.slow
def test_slow():
    """Takes long."""
'''


def _run(folder, *options, **environment):
    (folder / "tests").mkdir()
    shutil.copy(Path(__file__).parents[1] / "conftest.py", folder / "tests")
    (folder / "tests/test_some.py").write_text(CASES)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: slow\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_is_left_out_is_told_with_its_reason(tmp_path, workers):
    """Skipped and deselected cases are counted by reason, here and in a worker."""
    done = _run(tmp_path, "-n", workers, "-m", "not slow", GRIDFLOCK_REQUIRE_ALL="")
    assert "2 cases left out" in done.stdout
    assert "1  the moon is missing" in done.stdout
    assert "1  not selected by -m 'not slow'" in done.stdout
    assert done.returncode == 0


def test_a_missing_component_fails_where_all_are_required(tmp_path):
    """``GRIDFLOCK_REQUIRE_ALL=1`` turns an absence into a failure."""
    done = _run(tmp_path, GRIDFLOCK_REQUIRE_ALL="1")
    assert "the moon is missing and GRIDFLOCK_REQUIRE_ALL=1" in done.stdout
    assert done.returncode == 1
