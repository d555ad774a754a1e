"""What a test does where the server that it needs is not installed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from harness.engines import Missing


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Around what starts a server: where its packages are missing the test is left out and names them; in CI it fails."""
    try:
        yield
    except Missing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
