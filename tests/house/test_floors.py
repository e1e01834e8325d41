"""Imports go down only, and the core touches nothing outside."""

import subprocess
import sys


def test_imports_keep_the_floors(root):
    """Every contract of import-linter in pyproject.toml is kept."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
