"""``koinon`` and ``python -m koinon``: the daemon or the command line, each loaded only when asked for."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Run the command line of this process; return its exit code."""
    try:
        from koinon.cli.main import koinon

        return koinon(_serve)
    except KeyboardInterrupt:  # pressed while modules were being loaded
        return 130


def _serve(config: Path | None, workers: int) -> int:
    """Read the settings, then be a zone until told to stop."""
    import os

    from koinon import settings
    from koinon.client.errors import SetupError

    try:
        found = settings.load(config, os.environ)
    except settings.SettingsError as error:
        raise SetupError(str(error)) from error
    from koinon.daemon.server import run

    return run(found, workers)


if __name__ == "__main__":
    sys.exit(main())
