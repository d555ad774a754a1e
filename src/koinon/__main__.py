"""``koinon`` and ``python -m koinon``: the daemon or the command line, each loaded only when asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded only when asked for
    from koinon.settings import Settings


def main() -> int:
    """Run the command line of this process; return its exit code."""
    try:
        from koinon.cli.main import koinon
        from koinon.cli.moving_commands import commands

        return koinon(_serve, commands(_move))
    except KeyboardInterrupt:  # pressed while modules were being loaded
        return 130


def _serve(config: Path | None, workers: int) -> int:
    """Read the settings, then be a zone until told to stop."""
    found = _settings(config)
    from koinon.daemon.server import run

    return run(found, workers)


def _move(operation: str, config: Path | None, **arguments: Any) -> dict[str, Any]:
    """Read the settings, then do one of the daemon's operations on whole databases; its refusals become the command line's."""
    found = _settings(config)
    from koinon.client.errors import RefusedError
    from koinon.daemon.moving import OPERATIONS
    from koinon.errors import CloudError

    try:
        return OPERATIONS[operation](found, **arguments)
    except CloudError as error:
        raise RefusedError(error.text, code=error.code) from error


def _settings(config: Path | None) -> Settings:
    import os

    from koinon import settings
    from koinon.client.errors import SetupError

    try:
        return settings.load(config, os.environ)
    except settings.SettingsError as error:
        raise SetupError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
