"""Entry points: ``koinon`` with all nouns, and one command for each noun as OpenNebula's users know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from koinon.cli.acl import ACL_COMMANDS
from koinon.cli.clusters import CLUSTER_COMMANDS
from koinon.cli.commands import InOrder, group_of, run
from koinon.cli.completion import SHELLS, script, words_of
from koinon.cli.federation import FEDERATION_COMMANDS
from koinon.cli.groups import GROUP_COMMANDS
from koinon.cli.hosts import HOST_COMMANDS
from koinon.cli.policy import POLICY_COMMANDS
from koinon.cli.stored_documents import DOCUMENT_COMMANDS
from koinon.cli.users import USER_COMMANDS
from koinon.cli.vdcs import VDC_COMMANDS
from koinon.cli.zones import ZONE_COMMANDS

LISTS = "Lists of objects are ids, ranges and names: 3,5..8,alice."

#: noun -> what it is about, its commands
NOUNS = {
    "zone": (f"Zones of the federation, and which of them you talk to. {LISTS}", ZONE_COMMANDS),
    "user": (f"Users, their groups, passwords and log-in tokens. {LISTS}", USER_COMMANDS),
    "group": (f"Groups and their administrators. {LISTS}", GROUP_COMMANDS),
    "vdc": (f"VDCs: which groups may use which resources of which zones. {LISTS}", VDC_COMMANDS),
    "cluster": (f"Clusters: hosts of a zone that rules and VDCs hand out together. {LISTS}", CLUSTER_COMMANDS),
    "host": (f"Hosts of a zone. {LISTS}", HOST_COMMANDS),
    "document": ("Documents that clients keep in a zone: data with a type, an owner, permissions and a lock.", DOCUMENT_COMMANDS),
    "acl": ("Rules: who may do what with which objects, in which zone.", ACL_COMMANDS),
    "policy": ("What a change of rules would do.", POLICY_COMMANDS),
    "federation": ("Membership of the zone on this machine: init, invite, join, leave.", FEDERATION_COMMANDS),
}

#: nouns that have no command of their own, as OpenNebula has none for them
OF_KOINON = ("policy", "federation")

_HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


def root(server: Callable[[Path | None], int]) -> click.Group:
    """The whole command line; ``server`` runs a zone and returns its exit code."""
    group = InOrder("koinon", help="A federated cloud front-end: its server and its command line.", context_settings=_HELP_OPTIONS)
    config = click.Option(
        ["--config"],
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Settings (TOML). Without it a zone of its own with the defaults.",
    )
    group.add_command(click.Command("server", callback=server, params=[config], help="Run a zone on this machine until SIGTERM or Ctrl-C."))
    for noun, (help, rows) in NOUNS.items():
        group.add_command(group_of(noun, help, rows))

    def complete(shell: str) -> None:
        click.echo(script(shell, words_of(group), [noun for noun in NOUNS if noun not in OF_KOINON]), nl=False)

    shell = click.Argument(["shell"], type=click.Choice(SHELLS))
    group.add_command(
        click.Command("completion", callback=complete, params=[shell], help="Print what makes a shell complete our commands.")
    )
    click.version_option(package_name="koinon", prog_name="koinon", message="%(prog)s %(version)s")(group)
    return group


def koinon(server: Callable[[Path | None], int]) -> int:
    """``koinon NOUN VERB ...``"""
    return run(root(server), "koinon")


def onezone() -> int:
    """``onezone VERB ...``"""
    return _noun("zone")


def oneuser() -> int:
    """``oneuser VERB ...``"""
    return _noun("user")


def onegroup() -> int:
    """``onegroup VERB ...``"""
    return _noun("group")


def onevdc() -> int:
    """``onevdc VERB ...``"""
    return _noun("vdc")


def onecluster() -> int:
    """``onecluster VERB ...``"""
    return _noun("cluster")


def onehost() -> int:
    """``onehost VERB ...``"""
    return _noun("host")


def onedocument() -> int:
    """``onedocument VERB ...``"""
    return _noun("document")


def oneacl() -> int:
    """``oneacl VERB ...``"""
    return _noun("acl")


def _noun(noun: str) -> int:
    help, rows = NOUNS[noun]
    group = group_of(noun, help, rows)
    group.context_settings = _HELP_OPTIONS
    return run(group, f"one{noun}")
