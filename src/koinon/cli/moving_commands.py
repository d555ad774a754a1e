"""The commands that move a zone's whole database, for the top of the command line.

Path:     __main__.py -> commands(move) -> click -> moving.py, loaded only when one of them runs
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koinon.cli.commands import InOrder

if TYPE_CHECKING:  # every command would pay for it at its start
    from koinon.cli.moving import Move

PATH = click.Path(path_type=Path)
CONFIG = click.Option(["--config"], metavar="FILE", type=PATH, help="The zone's settings: the FILE given to `koinon server`.")
TO = click.Option(
    ["--to"],
    metavar="URL",
    required=True,
    envvar="KOINON_COPY_TO",
    help="Address of the other database, as `url` in [database]; or put it in KOINON_COPY_TO, where others do not see its password.",
)
REPLACE = click.Option(["--replace"], is_flag=True, help="Give up what that database holds.")
RESTORE_OVER = click.Option(["--replace"], is_flag=True, help="Give up what the zone's database holds; rename key files that differ.")
FILE = click.Argument(["file"], type=PATH)
WITH_KEYS = click.Option(["--with-keys"], is_flag=True, help="Also the zone's keys and password files: who has the file can be the zone.")
YES = click.Option(["--yes"], is_flag=True, help="Do not ask.")


def commands(move: Move) -> tuple[click.Command, ...]:
    """Commands that let ``move`` do the work."""

    def runs(name: str) -> Callable[..., int | None]:
        def run(**values: Any) -> int | None:
            from koinon.cli import moving

            done: int | None = getattr(moving, name)(move, **values)
            return done

        return run

    database = InOrder("database", help="The database of the zone on this machine.")
    copying = "Copy the zone's database to another engine or place, and check the copy. If the zone is stopped, it moves there."
    database.add_command(click.Command("copy", callback=runs("copy"), params=[TO, REPLACE, CONFIG], help=copying))
    reopening = "Open the database that the zone has left by `copy`: it is to go on there after all."
    database.add_command(click.Command("reopen", callback=runs("reopen"), params=[CONFIG], help=reopening))
    writing = "Write the zone's database to FILE, while the zone runs or not."
    reading = "Make the database of the stopped zone what it was when FILE was written."
    return (
        database,
        click.Command("backup", callback=runs("backup"), params=[FILE, WITH_KEYS, CONFIG], help=writing),
        click.Command("restore", callback=runs("restore"), params=[FILE, RESTORE_OVER, YES, CONFIG], help=reading),
    )
