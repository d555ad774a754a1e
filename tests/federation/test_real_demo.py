"""The first thing that anybody runs must work: ``make demo CHECK=1``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_holds_all_that_it_claims() -> None:
    """It starts, joins, shares, scopes and catches up; exit code 0 says that every check held."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "demo", "--check"], cwd=root, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
