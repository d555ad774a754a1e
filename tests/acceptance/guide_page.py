"""A page of the guide as a sequence of commands and what they show, and the same page with what they show now.

A block marked ``console`` holds lines ``ZONE$ COMMAND`` or ``USER@ZONE$ COMMAND``, each followed by its output, standard error last. After
a command that fails stands a line ``(exit code N)``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^(?:(?P<user>[a-z]+)@)?(?P<zone>[a-z]+)\$ (?P<command>.+)$")
# A rule's id depends on how many there were before: told after "ID:" and "rule", and first in the rows of a table.
_RULE_ID = re.compile(r"(?<=^ID: )\d+(?=\nRULE)|(?<=\brule )\d+(?=:)|^ *\d+(?= +(?:[@#*]|is |grants |counts ))", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command of a page: who types it where, and what the page says it shows."""

    user: str
    zone: str
    command: str
    shown: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command)


def steps(page: Path) -> list[Step]:
    """All commands of a page, in order."""
    found: list[Step] = []
    for block in _BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            prompt = _PROMPT.match(line)
            if prompt is not None:
                found.append(Step(prompt["user"] or "oneadmin", prompt["zone"], prompt["command"], ""))
            else:
                last = found.pop()
                found.append(Step(last.user, last.zone, last.command, f"{last.shown}{line}\n"))
    return found


def normal(text: str) -> str:
    """Output without what differs from run to run: ids of rules, and the blanks that follow from their lengths."""
    return re.sub(r"  +", "  ", _RULE_ID.sub("N", text)).strip()


def rewrite(page: Path, outputs: Iterable[str]) -> None:
    """Put what the commands show now into the page."""
    shown = iter(outputs)

    def block(match: re.Match[str]) -> str:
        prompts = [line for line in match[1].splitlines() if _PROMPT.match(line)]
        return "```console\n" + "".join(f"{line}\n{next(shown)}" for line in prompts) + "```"

    page.write_text(_BLOCK.sub(block, page.read_text()))
