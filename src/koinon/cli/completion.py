"""Completion for bash, zsh and fish: scripts made from the tables of commands, static, so that a key press starts no program.

Path:     main.NOUNS -> words_of() -> script() -> ``koinon completion SHELL``
Not here: names of objects, which only zones know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Flag:
    """One option: its spellings, whether a value follows, and what it is for."""

    names: tuple[str, ...]
    takes_value: bool
    help: str


@dataclass(frozen=True)
class Word:
    """A noun or a verb: what may follow it, and the options it takes."""

    name: str
    help: str
    then: tuple[Word, ...] = ()
    flags: tuple[Flag, ...] = ()


def words_of(command: click.Command) -> Word:
    """All that can be typed after the name of ``command``."""
    with click.Context(command, info_name=command.name, help_option_names=["-h", "--help"]) as context:
        flags = tuple(
            Flag((*parameter.opts,), not parameter.is_flag and not parameter.count, parameter.help or "")
            for parameter in command.get_params(context)
            if isinstance(parameter, click.Option)
        )
    short = command.get_short_help_str(100)
    if isinstance(command, click.Group):
        inner = (command.get_command(context, name) for name in command.list_commands(context))
        return Word(command.name or "", short, tuple(words_of(one) for one in inner if one is not None), flags)
    choices = (parameter.type for parameter in command.params if isinstance(parameter, click.Argument))
    return Word(
        command.name or "", short, tuple(Word(one, "") for type in choices if isinstance(type, click.Choice) for one in type.choices), flags
    )


def script(shell: str, root: Word, nouns: Sequence[str]) -> str:
    """The completion script: for ``koinon`` with what ``root`` holds, and for ``oneNOUN`` of each of the nouns."""
    programs = ["koinon", *(f"one{noun}" for noun in nouns)]
    lines = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](root, programs)
    return "".join(f"{line}\n" for line in lines)


def _places(word: Word, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Word]]:
    """Every word with the words before it."""
    for inner in word.then:
        yield (*path, inner.name), inner
        yield from _places(inner, (*path, inner.name))


def _bash(root: Word, programs: Sequence[str]) -> Iterator[str]:
    yield from (
        "# koinon completion bash: load it with  source <(koinon completion bash)",
        "_koinon() {",
        '    local program=${COMP_WORDS[0]##*/} current=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") choices',
        '    [[ $program == one* ]] && words=("${program#one}" "${words[@]}")',
        "    COMPREPLY=()",
        '    case "${#words[@]} ${words[0]-} ${words[1]-}" in',
        f"        '0  ') choices='{_joined(root.then)}' ;;",
    )
    for path, word in _places(root):
        if len(path) == 1 and word.then and path[0] not in ("completion",):
            yield f"        '1 {path[0]} ') choices='{_joined(word.then)}' ;;"
        elif len(path) == 1:
            choices = _joined(word.then) or _flag_names(word.flags)
            yield f"        *' {path[0]} '*) choices='{choices}' ;;"
        elif word.flags:
            yield f"        *' {path[0]} {path[1]}') choices='{_flag_names(word.flags)}' ;;"
    yield from (
        "    esac",
        "    # After a verb only options are known; files come from the shell.",
        '    if [[ ${#words[@]} -lt 2 || $current == -* ]]; then COMPREPLY=($(compgen -W "$choices" -- "$current")); fi',
        "}",
        f"complete -o default -F _koinon {' '.join(programs)}",
    )


def _zsh(root: Word, programs: Sequence[str]) -> Iterator[str]:
    yield from (
        f"#compdef {' '.join(programs)}",
        "# koinon completion zsh: load it with  source <(koinon completion zsh)",
        "_koinon() {",
        "    local -a before choices",
        "    before=(${words[2,CURRENT-1]})",
        "    [[ ${words[1]:t} == one* ]] && before=(${${words[1]:t}#one} $before)",
        '    case "${#before} ${before[1]} ${before[2]}" in',
        f"        '0  ') choices=({_described(root.then)}) ;;",
    )
    for path, word in _places(root):
        if len(path) == 1 and word.then and path[0] not in ("completion",):
            yield f"        '1 {path[0]} ') choices=({_described(word.then)}) ;;"
        elif len(path) == 1:
            yield f"        *' {path[0]} '*) choices=({_described(word.then) or _described_flags(word.flags)}) ;;"
        elif word.flags:
            yield f"        *' {path[0]} {path[1]}') choices=({_described_flags(word.flags)}) ;;"
    yield from (
        "    esac",
        "    if (( ${#before} < 2 )) || [[ $PREFIX == -* ]]; then _describe word choices; else _files; fi",
        "}",
        'if [[ ${funcstack[1]} == _koinon ]]; then _koinon "$@"; else compdef _koinon ' + " ".join(programs) + "; fi",
    )


def _fish(root: Word, programs: Sequence[str]) -> Iterator[str]:
    yield from (
        "# koinon completion fish: load it with  koinon completion fish | source",
        "function __koinon_after",
        "    set -l words (commandline -opc)",
        "    set -l program (string replace -r '.*/' '' -- $words[1])",
        "    set -e words[1]",
        "    if string match -q 'one*' -- $program; set -p words (string sub -s 4 -- $program); end",
        '    test (count $words) -eq (count $argv); and test "$words" = "$argv"',
        "end",
        "function __koinon_in",
        "    set -l words (commandline -opc)",
        "    set -l program (string replace -r '.*/' '' -- $words[1])",
        "    set -e words[1]",
        "    if string match -q 'one*' -- $program; set -p words (string sub -s 4 -- $program); end",
        "    set -l length (count $argv)",
        '    test (count $words) -ge $length; and test "$words[1..$length]" = "$argv"',
        "end",
    )
    nouns = {program.removeprefix("one") for program in programs if program.startswith("one")}
    for inner in root.then:
        yield f"complete -c koinon -f -n __koinon_after -a {inner.name} -d {_quoted(inner.help)}"
    for path, word in _places(root):
        of = ["koinon", *([f"one{path[0]}"] if path[0] in nouns else [])]
        commands = " ".join(f"-c {program}" for program in of)
        for inner in word.then:
            yield f"complete {commands} -f -n '__koinon_after {' '.join(path)}' -a {inner.name} -d {_quoted(inner.help)}"
        for flag in word.flags:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
            value = " -r" if flag.takes_value else ""
            yield f"complete {commands} -n '__koinon_in {' '.join(path)}' {names}{value} -d {_quoted(flag.help)}"


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.name for word in words)


def _flag_names(flags: Sequence[Flag]) -> str:
    return " ".join(name for flag in flags for name in flag.names)


def _described(words: Sequence[Word]) -> str:
    return " ".join(_quoted(f"{word.name}:{word.help}" if word.help else word.name) for word in words)


def _described_flags(flags: Sequence[Flag]) -> str:
    return " ".join(_quoted(f"{name}:{flag.help}") for flag in flags for name in flag.names)


def _quoted(text: str) -> str:
    r"""One word for any of the shells: fish, unlike the others, knows ``\'`` in quotes, so no ``'`` is let in."""
    return "'" + text.replace("\\", "").replace("'", "’") + "'"
