"""Entry points: ``koinon`` with all nouns, and one command for each noun as OpenNebula's users know them.

Holds:    a command loads its own noun's module and no other (tests/cli/test_process.py lists what a start may not load).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from koinon.cli.commands import InOrder, Noun, NounGroup, run

LISTS = "Lists of objects are ids, ranges and names: 3,5..8,alice."

NOUNS = {
    "zone": Noun(f"Zones of the federation, and which of them you talk to. {LISTS}", "koinon.cli.zones:ZONE_COMMANDS"),
    "user": Noun(f"Users, their groups, passwords and log-in tokens. {LISTS}", "koinon.cli.users:USER_COMMANDS"),
    "group": Noun(f"Groups and their administrators. {LISTS}", "koinon.cli.groups:GROUP_COMMANDS"),
    "vdc": Noun(f"VDCs: which groups may use which resources of which zones. {LISTS}", "koinon.cli.vdcs:VDC_COMMANDS"),
    "cluster": Noun(f"Clusters: hosts of a zone that rules and VDCs hand out together. {LISTS}", "koinon.cli.clusters:CLUSTER_COMMANDS"),
    "host": Noun(f"Hosts of a zone. {LISTS}", "koinon.cli.hosts:HOST_COMMANDS"),
    "document": Noun(
        "Documents that clients keep in a zone: data with a type, an owner, permissions and a lock.",
        "koinon.cli.stored_documents:DOCUMENT_COMMANDS",
    ),
    "acl": Noun("Rules: who may do what with which objects, in which zone.", "koinon.cli.acl:ACL_COMMANDS"),
    "policy": Noun("What a change of rules would do.", "koinon.cli.policy:POLICY_COMMANDS"),
    "federation": Noun("Membership of the zone on this machine: init, invite, join, leave.", "koinon.cli.federation:FEDERATION_COMMANDS"),
}

#: nouns that have no command of their own, as OpenNebula has none for them
OF_KOINON = ("policy", "federation")

SHELLS = ("bash", "zsh", "fish")

_HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


def root(server: Callable[[Path | None, int], int], more: Sequence[click.Command] = ()) -> click.Group:
    """The whole command line.

    Args:
        server: runs a zone and returns its exit code.
        more: further commands that need server code, which is not to be imported here.
    """
    group = InOrder("koinon", help="A federated cloud front-end: its server and its command line.", context_settings=_HELP_OPTIONS)
    config = click.Option(
        ["--config"],
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Settings (TOML). Without it a zone of its own with the defaults.",
    )
    workers = click.Option(
        ["--workers"],
        metavar="N",
        type=click.IntRange(1, 64),
        default=1,
        help="Processes that serve it, on PostgreSQL or MariaDB; one for each processor, about. Default: 1.",
    )
    group.add_command(
        click.Command("server", callback=server, params=[config, workers], help="Run a zone on this machine until SIGTERM or Ctrl-C.")
    )
    for one in more:
        group.add_command(one)
    for name, noun in NOUNS.items():
        group.add_command(NounGroup(noun, name))

    def complete(shell: str) -> None:
        from koinon.cli.completion import script, words_of

        click.echo(script(shell, words_of(group), [noun for noun in NOUNS if noun not in OF_KOINON]), nl=False)

    shell = click.Argument(["shell"], type=click.Choice(SHELLS))
    group.add_command(
        click.Command("completion", callback=complete, params=[shell], help="Print what makes a shell complete our commands.")
    )
    return _telling_version(group, "koinon")


def koinon(server: Callable[[Path | None, int], int], more: Sequence[click.Command]) -> int:
    """``koinon NOUN VERB ...``"""
    return run(root(server, more), "koinon")


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
    program = f"one{noun}"
    return run(_telling_version(NounGroup(NOUNS[noun], noun, context_settings=_HELP_OPTIONS), program), program)


def _telling_version(group: click.Group, program: str) -> click.Group:
    return click.version_option(None, "-V", "--version", package_name="koinon", prog_name=program, message="%(prog)s %(version)s")(group)
