"""From a row of a command table to a command: arguments, options that all commands share, exit codes.

Path:     users.USER_COMMANDS (and the like) -> NounGroup -> click -> the row's function with a Connection
Holds:    0 done; 1 the zone said no; 2 wrong usage or set-up; 3 no answer; 130 Ctrl-C. Never a traceback.
Not here: what each command does; the entry points (main.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

import click

from koinon.cli import references
from koinon.cli.connection import ANSWER_S, Connection
from koinon.cli.passwords import password_from
from koinon.cli.tables import visible_lines
from koinon.client.errors import ClientError, RefusedError, SetupError, UnreachableError

SHORT_S = 2.0  # work that takes no longer needs no line that moves

DONE, REFUSED, USAGE, NO_ANSWER, INTERRUPTED, BROKEN_PIPE, OUR_MISTAKE = 0, 1, 2, 3, 130, 141, 70

ENDPOINT = click.Option(["--endpoint"], metavar="URL", help="The zone to talk to. Default: ONE_XMLRPC, ~/.one/one_endpoint, this machine.")
ZONE = click.Option(
    ["--zone"], metavar="ID|NAME", help="Talk to this zone instead; its address is taken from the zone list of the zone above."
)
TIMEOUT = click.Option(
    ["--timeout"],
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86_400),
    default=ANSWER_S,
    show_default=True,
    help="How long to wait for an answer.",
)
USER = click.Option(["--user", "as_user"], metavar="NAME", help="Who you are. Default: the session file (ONE_AUTH, ~/.one/one_auth).")
PASSWORD = click.Option(
    ["--password", "as_password"], metavar="PASSWORD", help="Password or token of --user; else asked for, - reads it from standard input."
)
SHARED = (ZONE, ENDPOINT, USER, PASSWORD, TIMEOUT)


@dataclass(frozen=True)
class Command:
    """One row: a verb and all there is to know about it but the code.

    Attributes:
        verb: what people type.
        calls: the XML-RPC calls that it makes; none for what goes over the admin socket.
        parameters: arguments, then options, each as click knows them.
        help: one sentence.
        run: takes the Connection (or nothing, if there are no calls) and the parameters by name.
    """

    verb: str
    calls: tuple[str, ...]
    parameters: tuple[click.Parameter, ...]
    help: str
    run: Callable[..., None]


@dataclass(frozen=True)
class Noun:
    """What one noun is about, and where the table of its commands is: ``module:NAME``."""

    help: str
    table: str

    def rows(self) -> Sequence[Command]:
        """Load the table."""
        module, _, name = self.table.partition(":")
        rows: Sequence[Command] = getattr(import_module(module), name)
        return rows


def command(
    verb: str, calls: str, arguments: tuple[click.Parameter, ...], options: tuple[click.Parameter, ...], help: str, run: Callable[..., None]
) -> Command:
    """Write a row; ``calls`` are separated by blanks."""
    return Command(verb, tuple(calls.split()), (*arguments, *options), help, run)


def each(connection: Connection, noun: str, written: str, act: Callable[[int], object]) -> None:
    """Do ``act`` once to every object that ``written`` names, by id or name or both, going on after a refusal.

    Raises:
        RefusedError: at least one was refused. Each refusal has been printed; the error says how many only if there were several objects.
    """
    from koinon.cli.progress import working  # here, because it needs threads and most commands ask once

    wanted = references.parse_many(written)
    refused, done = [], set()
    with working("", after_s=SHORT_S) as line:
        for position, reference in enumerate(wanted):
            line.text = f"{noun} {reference}, {position} of {len(wanted)} done,"
            try:
                oid = connection.id_of(noun, reference)
                if oid not in done:
                    done.add(oid)
                    act(oid)
            except RefusedError as error:
                if len(wanted) == 1:
                    raise
                refused.append(error)
                line.say(f"{noun} {reference}: {error.text}")
    if refused:
        raise RefusedError(f"{len(refused)} of {len(wanted)} were refused; the others are done.", code=refused[0].code)


def run(root: click.Command, name: str, arguments: Sequence[str] | None = None, given: object = None) -> int:
    """Run a command line and return its exit code; every failure becomes a message on stderr."""
    try:
        result = root.main(args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False, obj=given)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        _explain_usage(error, name)
        return USAGE
    except ClientError as error:
        return _explain(error)
    except (BrokenPipeError, SystemExit):  # click makes SystemExit of a broken pipe, and of nothing else here
        with suppress(OSError, ValueError):  # the reader has gone (`| head`); Python must not complain once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
        return BROKEN_PIPE
    except OSError as error:
        complain(f"This machine refused: {error}.")
        return USAGE
    except Exception as error:
        if os.environ.get("KOINON_DEBUG"):
            raise
        complain(f"A mistake in this program: {type(error).__name__}: {error}. Please report it; KOINON_DEBUG=1 shows where.")
        return OUR_MISTAKE
    return result if isinstance(result, int) else DONE


def complain(text: str) -> None:
    """A message for the person, on stderr."""
    click.echo(visible_lines(text), err=True)


def usage(text: str) -> NoReturn:
    """Refuse the way the command was written."""
    raise click.UsageError(text)


def _explain(error: ClientError) -> int:
    complain(error.text)
    if isinstance(error, RefusedError):
        for detail in error.details:
            complain(f"  {detail}")
        return REFUSED
    return NO_ANSWER if isinstance(error, UnreachableError) else USAGE if isinstance(error, SetupError) else REFUSED


def _explain_usage(error: click.ClickException, name: str) -> None:
    context = error.ctx if isinstance(error, click.UsageError) else None
    complain(error.format_message())
    complain(f"See `{name if context is None else context.command_path} --help`.")


def _to_click(row: Command) -> click.Command:
    if not row.calls:
        return click.Command(row.verb, callback=row.run, params=list(row.parameters), help=row.help, short_help=row.help)

    def callback(
        endpoint: str | None, zone: str | None, timeout: float, as_user: str | None, as_password: str | None, **values: Any
    ) -> None:
        session = _session(as_user, as_password)
        connection = Connection(os.environ, endpoint=endpoint, zone=zone, answer_s=timeout, session=session)
        try:
            row.run(connection, **values)
        finally:
            connection.close()

    return click.Command(row.verb, callback=callback, params=[*row.parameters, *SHARED], help=row.help, short_help=row.help)


def _session(name: str | None, password: str | None) -> str | None:
    """``user:secret`` if the person says who they are."""
    if name is None:
        if password is not None:
            usage("--password goes with --user.")
        return None
    return f"{name}:{password_from(password, f'Password of {name}', confirm=False)}"


class InOrder(click.Group):
    """Commands in the order in which they were added: what belongs together stays together."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class NounGroup(click.Group):
    """The commands of one noun in the order of its table, which is loaded when one of them is asked for."""

    def __init__(self, noun: Noun, name: str, **settings: Any) -> None:
        super().__init__(name, help=noun.help, **settings)
        self._noun = noun

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [row.verb for row in self._noun.rows()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return next((_to_click(row) for row in self._noun.rows() if row.verb == cmd_name), None)
