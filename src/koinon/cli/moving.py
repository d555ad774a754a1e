"""What the commands do that move a zone's whole database: ``koinon database copy``, ``koinon backup``, ``koinon restore``.

Path:     moving_commands.py -> here -> Move, which is server code that __main__.py loads -> what is printed
Holds:    the result goes to standard output as facts; what is to be done next, to standard error.
Not here: how it is done (the daemon's module of the same name).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click

from koinon.cli.commands import DONE, REFUSED, complain
from koinon.cli.progress import Line, working
from koinon.cli.tables import moment, print_facts
from koinon.client.admin import Answer


class Move(Protocol):
    """Does one of copy, take_back, back_up, look, restore for the zone with these settings; failures come as ClientError or OSError."""

    def __call__(self, operation: str, config: Path | None, **arguments: Any) -> Answer: ...


def copy(move: Move, config: Path | None, to: str, replace: bool) -> None:
    with working("Copying the database") as line:
        made = move("copy", config, to=to, replace=replace, tell=_detail_of(line))
    _tell_copied(made)


def reopen(move: Move, config: Path | None) -> None:
    made = move("take_back", config)
    print_facts([("OPEN", made["place"]), ("ZONE", str(made["zone_id"])), ("POSITION", made["position"])])
    complain("Start the zone here, and no server on the other database: there would be two of one zone.")


def backup(move: Move, config: Path | None, file: Path, with_keys: bool) -> None:
    with working("Writing the backup") as line:
        made = move("back_up", config, path=file, with_keys=with_keys, tell=_detail_of(line))
    _tell_backed_up(made, with_keys)


def restore(move: Move, config: Path | None, file: Path, replace: bool, yes: bool) -> int:
    _tell_what_is_in(move("look", config, path=file))
    if not yes and not _agreed():
        complain("Nothing was changed.")
        return REFUSED
    with working("Restoring the database") as line:
        made = move("restore", config, path=file, replace=replace, tell=_detail_of(line))
    _tell_restored(made)
    return DONE


def _detail_of(line: Line) -> Callable[[str], None]:
    """Says how far the work is."""
    begin = line.text

    def tell(detail: str) -> None:
        line.text = f"{begin}: {detail}"

    return tell


def _facts(moved: Answer) -> list[tuple[str, str]]:
    return [
        ("ZONE", str(moved["zone_id"])),
        ("ROLE", moved["role"]),
        ("FEDERATION", moved["federation_id"] or "-"),
        ("POSITION", moved["position"]),
        ("ROWS", str(moved["rows"])),
    ]


def _tell_copied(moved: Answer) -> None:
    print_facts([("COPY", moved["place"]), *_facts(moved), ("STATE", "ready" if moved["opened"] else "closed")])
    _complain_of_faults(moved)
    _complain_of_sessions(moved)
    if moved["opened"]:
        complain(
            "The copy is whole and checked. Set `url` in [database] to its address, then start the zone. The old database is closed from "
            "now on, so that no server starts on the wrong one (`koinon database reopen` takes that back)."
        )
    else:
        complain(
            f"The zone runs: the copy is of position {moved['position']}, checked, and closed, for it lacks what the zone writes from now "
            "on. To switch over: stop the zone, give this command again (it copies only what changed), set `url` in [database], start."
        )


def _tell_backed_up(moved: Answer, with_keys: bool) -> None:
    print_facts([("BACKUP", moved["place"]), *_facts(moved), ("BYTES", str(moved["size"])), ("KEYS", ", ".join(moved["keys"]) or "-")])
    _complain_of_faults(moved)
    if with_keys:
        complain("It holds this zone's keys: keep it as you keep them. The recovery key is not in it.")
    else:
        complain(
            "It holds verifiers of passwords, and no keys: keep one_auth, serveradmin_auth and federation/ of the state directory too."
        )


def _tell_what_is_in(header: Answer) -> None:
    print_facts([
        ("BACKUP OF ZONE", f"{header['zone_id']} ({header['zone_name'] or '-'})"),
        ("ROLE", header["role"]),
        ("FEDERATION", header["federation_id"] or "-"),
        ("POSITION", f"{header['epoch']}.{header['position']}"),
        ("MADE", f"{moment(header['made_at_ms'] // 1000)}, on {header['engine']}"),
    ])  # fmt: skip
    if header["role"] == "master":
        complain(
            "This zone is a master. What it acknowledged after that position is not in the backup. A zone that has copied more proves it: "
            "the master then stops shared writes until you accept the loss (koinon federation accept-loss) or restore a newer backup."
        )
    elif header["role"] == "slave":
        complain("This zone is a slave: from that position on it copies from its master again, by a snapshot if it is too far behind.")
    if header["role"] != "standalone":
        complain("What belongs to this zone alone (quotas, hosts, documents...) will be as it was then.")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        complain("Give --yes to go on without being asked.")
        return False
    return click.confirm("Restore it?", err=True)


def _tell_restored(moved: Answer) -> None:
    print_facts([("RESTORED", moved["place"]), ("ROWS", str(moved["rows"])), ("KEYS", ", ".join(moved["keys"]) or "-")])
    _complain_of_faults(moved)
    _complain_of_sessions(moved)
    if moved["lacks_keys"]:
        complain(
            "The zone's keys are neither in the backup nor in the state directory: put its directory federation/ there before the start."
        )
    complain("The database is whole and checked. Start the zone.")


def _complain_of_sessions(moved: Answer) -> None:
    if moved["sessions_left"]:
        complain(
            f"{moved['sessions_left']} sessions of servers that were still connected belong to another user, and could not be ended. They "
            "can change nothing any more. End those servers, or the sessions as an administrator of the database server."
        )


def _complain_of_faults(moved: Answer) -> None:
    if moved["faults"]:
        complain(
            f"These shared tables do not have the digests that the zone keeps of them: {', '.join(moved['faults'])}. Someone has changed "
            "rows by hand, or a disk has; the rows are copied as they are. On a slave, `koinon federation resync` heals it."
        )
