"""The commands of membership: ``koinon federation``, spoken to the zone on this machine over its admin socket.

Not here: what they do (the daemon's federation package); zone records (zones.py).
Each function is one verb; its row in the table at the end says what it is for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from koinon import settings
from koinon.cli.commands import command, complain, usage
from koinon.cli.listing import ANSWER_FORMS, CSV, print_plain
from koinon.cli.progress import working
from koinon.cli.tables import Column, moment, print_csv, print_facts, print_table, visible
from koinon.client.admin import AdminClient, Answer
from koinon.client.errors import SetupError

CONFIG = click.Option(
    ["--config"], metavar="FILE", type=click.Path(path_type=Path), help="The zone's settings: the FILE given to `koinon server`."
)
NAME = click.Argument(["name"])
TOKEN = click.Argument(["token"])
ENDPOINT = click.Option(["--endpoint"], metavar="URL", help="Address of the new zone's XML-RPC service, if known already.")
REPLACE = click.Option(["--replace"], is_flag=True, help="Give up this zone's own users, groups, rules and other shared objects.")
PLAN = click.Option(
    ["--plan", "only_plan"], is_flag=True, help="Change nothing; tell what would be lost, and what would be someone else's."
)
FORCE = click.Option(["--force"], is_flag=True, help="Leave though the master can't be told.")
OPTIONS = (*ANSWER_FORMS, CONFIG)


def admin_client(config: Path | None) -> AdminClient:
    """The admin socket of the zone with these settings; without them KOINON_STATE_DIR, else the default place.

    Raises:
        SetupError: the settings can't be read.
    """
    if config is None and os.environ.get("KOINON_STATE_DIR"):
        return AdminClient(Path(os.environ["KOINON_STATE_DIR"]))
    try:
        return AdminClient(Path(settings.load(config, os.environ).state_dir))
    except settings.SettingsError as error:
        raise SetupError(str(error)) from error


def init(config: Path | None, form: str | None) -> None:
    made = admin_client(config).init()
    tell(made, form, ("FEDERATION", str(made["federation_id"])), ("ZONES DIAL", str(made["federation_endpoint"])))
    complain(
        f"This zone is the master now. The recovery key is in {made['recovery_key_file']}: move it to a place that is kept offline. "
        "Invite zones with `koinon federation invite NAME`."
    )


def tell(made: Answer, form: str | None, *facts: tuple[str, str]) -> None:
    """Print what the zone answered: for programs all of it, for people the facts."""
    if form is None:
        print_facts(facts)
    else:
        print_plain(made, form)


def invite(config: Path | None, name: str, endpoint: str | None, form: str | None) -> None:
    made = admin_client(config).invite(name, endpoint)
    if form is None:
        click.echo(made["token"])
    else:
        print_plain(made, form)
    until = made["expires_at"] if isinstance(made["expires_at"], str) else moment(made["expires_at"])
    complain(f"Zone {made['zone_id']} ({name}) is invited until {until}. On its machine run: koinon federation join TOKEN")


def join(config: Path | None, token: str, replace: bool, only_plan: bool, form: str | None) -> None:
    if only_plan:
        if replace:
            usage("--plan changes nothing, so it does not go with --replace.")
        plan(config, token, form)
        return
    with working("Joining: the master's data is copied"):
        made = admin_client(config).join(token, replace=replace)
    position = ("POSITION", f"{made['epoch']}.{made['position']}")
    tell(made, form, ("ZONE", str(made["zone_id"])), ("FEDERATION", str(made["federation_id"])), position)
    old = made.get("old_password_file")
    kept = f" This zone's old password is of no use any more; its file is now {old}." if old else ""
    complain(f"This zone is a slave now; users, groups and rules are the federation's, oneadmin too.{kept}")
    others = made.get("other_owners") or []
    if others:
        complain(f"Ids of owners stay. {len(others)} of them mean someone else in the federation, so these are someone else's now:")
    for line in others:
        complain(f"  {line}")


def plan(config: Path | None, token: str, form: str | None) -> None:
    with working("Comparing this zone with the federation"):
        found = admin_client(config).plan(token)
    lost, others = found["clashes"], found["other_owners"]
    tell(
        found,
        form,
        ("ZONE", str(found["zone_id"])),
        ("FEDERATION", str(found["federation_id"])),
        ("WOULD BE LOST", str(len(lost))),
        ("OTHER OWNERS", str(len(others))),
    )
    for title, lines in (("WOULD BE LOST", lost), ("OTHER OWNERS", others)):
        if form is None and lines:
            click.echo("\n".join(["", title, *(f"  {visible(str(line))}" for line in lines)]))
    complain(
        "Nothing was changed. "
        + ("`join` would refuse; `join --replace` gives up what would be lost." if lost else "`join` loses nothing.")
    )


def revoke(config: Path | None, name: str, form: str | None) -> None:
    made = admin_client(config).revoke(name)
    tell(made, form)
    complain(f"Zone {made['zone_id']} ({name}) is put out: its streams are cut and its requests are refused.")
    if made.get("halted"):
        complain("This master's database was set back. If you restore it, the zone is in again: revoke it once more then.")


def accept_loss(config: Path | None, form: str | None) -> None:
    made = admin_client(config).accept_loss()
    tell(made, form)
    complain(f"Shared writes go on. Given up: {made['lost']}")


def leave(config: Path | None, force: bool, form: str | None) -> None:
    made = admin_client(config).leave(force=force)
    tell(made, form, ("ROLE", str(made["role"])))
    complain("This zone stands alone now and keeps its copy of the shared data.")


def resync(config: Path | None, form: str | None) -> None:
    with working("Copying the master's data anew"):
        made = admin_client(config).resync()
    tell(made, form, ("POSITION", f"{made['epoch']}.{made['position']}"))


def status(config: Path | None, form: str | None) -> None:
    found = admin_client(config).status()
    zones = [zone for zone in found.get("zones") or () if isinstance(zone, dict)]
    if form == "csv":
        print_csv(COLUMNS, zones)
        return
    if form is not None:
        print_plain(found, form)
        return
    print_facts(_facts(found))
    if zones:
        click.echo()
        print_table(COLUMNS, zones)
    advice = [*_own_advice(found), *_advice(found, zones)]
    if advice:
        click.echo("\n".join(["", "TO DO", *(f"  {visible(line)}" for line in advice)]))


def _facts(found: Answer) -> list[tuple[str, str]]:
    facts = [
        ("ZONE", f"{_told(found, 'zone_id')} ({_told(found, 'name')})"),
        ("ROLE", _told(found, "role")),
        ("STATE", _told(found, "state")),
    ]
    if found.get("last_error"):
        facts.append(("LAST ERROR", str(found["last_error"])))
    facts += [
        ("FEDERATION", _told(found, "federation_id")),
        ("POSITION", _position(found)),
        ("CHAIN", _told(found, "chain")[:16]),
        ("ENDPOINT", _told(found, "endpoint")),
        ("ZONES DIAL", _told(found, "federation_endpoint")),
    ]
    master, lag, lease, waiting = (found.get(name) for name in ("master", "lag", "lease", "outbox"))
    if isinstance(master, dict):
        linked = "connected" if master.get("connected") else "NOT connected"
        heard = _age(master.get("heartbeat_age_s"))
        facts.append(("MASTER", f"zone {_told(master, 'zone_id')} at {_told(master, 'endpoint')}, {linked}, last heard of {heard}"))
        if isinstance(lag, dict):
            facts.append(("LAG", f"{_told(lag, 'statements')} statements, {_seconds(lag.get('seconds'))}"))
    if isinstance(lease, dict) and lease.get("holder"):
        facts.append(("PROCESS", f"{_told(found, 'process')} answers, {_told(lease, 'holder')} leads"))
    if isinstance(waiting, dict) and waiting.get("waiting"):
        facts.append(("OUTBOX", f"{waiting['waiting']} operation(s) wait to be taken, the oldest for {_seconds(waiting.get('oldest_s'))}"))
    return facts


_UNHEARD = "See that the master runs and that {master} can be reached from here. Until then nothing that is shared can be changed here."

#: What helps this zone, by its state. Not here: states that pass by themselves.
OWN_ADVICE = {
    "connecting": _UNHEARD,
    "silent": _UNHEARD,
    "halted": "Put back a newer copy of the database, or go on without what was lost: koinon federation accept-loss",
    "ahead": "The master's database was set back: restore it, or have it go on without what was lost: koinon federation accept-loss",
    "stuck": "Remove the cause that LAST ERROR names, then run: koinon federation resync",
    "cloned": "Another server runs as this zone: stop the one that is not to be it, restart the other.",
    "revoked": "To come back: `koinon federation invite {name}` at the master, then here `koinon federation leave --force` and join.",
}

#: Nothing waits for so long in the outbox of a zone that is well, unless it is refused.
STAYS_S = 60.0
STAYS = "What waits in the outbox is not taken: this zone's log says why (`zone operation refused`)."

#: What helps other zones, as the master sees them.
ADVICE = {
    "away": "see that its server runs and that {endpoint} can be reached from there; it comes back by itself.",
    "silent": "see that its server and the link to it work: its stream is open, and nothing comes.",
    "joining": "nothing, if `join` is at work there; else give the command again there.",
    "invited": "run `koinon federation join TOKEN` there; a new token: koinon federation invite {zone}",
    "stuck": "remove the cause there, then run there: koinon federation resync",
    "cloned": "two servers run as this zone: stop the one that is not to be it, restart the other.",
    "ahead": "this master's database was set back: restore it, or run: koinon federation accept-loss",
}


def _own_advice(found: Answer) -> list[str]:
    state, master, waiting = str(found.get("state")), found.get("master"), found.get("outbox")
    if state in OWN_ADVICE:
        at = _told(master, "endpoint") if isinstance(master, dict) else "its address"
        return [OWN_ADVICE[state].format(master=at, name=_told(found, "name"))]
    oldest_s = waiting.get("oldest_s") if isinstance(waiting, dict) else None
    return [STAYS] if state == "ok" and isinstance(oldest_s, int | float) and oldest_s > STAYS_S else []


def _advice(found: Answer, zones: list[Answer]) -> list[str]:
    """On the master, a line for each zone that needs somebody."""
    if found.get("role") != "master":
        return []
    wanted = [(zone, ADVICE[str(zone.get("state"))]) for zone in zones if zone.get("state") in ADVICE]
    endpoint = _told(found, "federation_endpoint")
    return [f"{_told(zone, 'name')}: {told.format(endpoint=endpoint, zone=_told(zone, 'name'))}" for zone, told in wanted]


COLUMNS = (
    Column[Answer]("ID", lambda zone: _told(zone, "zone_id"), right=True),
    Column[Answer]("NAME", lambda zone: _told(zone, "name")),
    Column[Answer]("TRUST", lambda zone: _told(zone, "trust")),
    Column[Answer]("STATE", lambda zone: _told(zone, "state"), colour=lambda cell: "green" if cell == "ok" else "yellow"),
    Column[Answer]("POSITION", lambda zone: _position(zone), right=True),
    Column[Answer]("BEHIND", lambda zone: _told(zone, "lag_statements"), right=True),
    Column[Answer]("LAG", lambda zone: _seconds(zone.get("lag_s")), right=True),
    Column[Answer]("SEEN", lambda zone: _age(zone.get("seen_s_ago"))),
    Column[Answer]("LAST ERROR", lambda zone: str(zone.get("last_error") or "")),
)


def _told(answer: Answer, name: str) -> str:
    value = answer.get(name)
    return "-" if value is None or value == "" else str(value)


def _position(answer: Answer) -> str:
    return "-" if answer.get("position") is None else f"{_told(answer, 'epoch')}.{answer['position']}"


def _seconds(value: Any) -> str:
    """A time, as exact as a person needs it."""
    if not isinstance(value, int | float):
        return "-"
    if value < 60:
        return f"{value:.1f} s"
    for size, unit, part, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if value >= size:
            return f"{int(value // size)} {unit} {int(value % size // part)} {small}"
    return f"{int(value // 60)} min {int(value % 60)} s"


def _age(value: Any) -> str:
    return f"{_seconds(value)} ago" if isinstance(value, int | float) else "never"


# fmt: off
FEDERATION_COMMANDS = (
    #       verb      calls  arguments   options               help
    command("init",   "",    (),         OPTIONS,              "Make this zone the master of a new federation.", init),
    command("invite", "",    (NAME,),    (ENDPOINT, *OPTIONS), "On the master: make a zone record and print its one-use token.", invite),
    command("join",   "",    (TOKEN,),   (PLAN, REPLACE, *OPTIONS), "On the new zone: enter the federation that made TOKEN.", join),
    command("status", "",    (),         (CSV, *OPTIONS),      "Show this zone's role, position and lag, and how all zones are.", status),
    command("revoke", "",    (NAME,),    OPTIONS,              "On the master: put a zone out of the federation at once.", revoke),
    command("accept-loss", "", (),       OPTIONS,              "On a master that lost writes: go on without them.", accept_loss),
    command("leave",  "",    (),         (FORCE, *OPTIONS),    "Leave the federation and go on alone.", leave),
    command("resync", "",    (),         OPTIONS,              "Load a snapshot from the master now.", resync),
)
# fmt: on
