"""A page for people as what they do, in order, and what they see; the same page with what they see now.

Path:     page -> parts() -> follow(), which does each part with what a test hands it -> the page's text and the run's, line by line
Blocks:   ```` ```console ```` has lines ``ZONE$ COMMAND`` or ``USER@ZONE$ COMMAND``, each followed by its output, standard error last;
          after one that fails stands ``(exit code N)``.
          ```` ```http ```` has lines ``> METHOD PATH [BODY] [HEADER: VALUE]``, each followed by ``< STATUS ANSWER``.
          ```` ```sh not-run ```` has commands that no test runs; test_guides.py holds the list of them, each with its reason.
          Any other block begins with a line ``# FILE on ZONE``: a file that the reader writes there.
          ``<!-- meanwhile: TEXT -->`` stands where something happens that nobody types; the test of the page knows what to do then.
Holds:    nothing in a page escapes: a block or a line of another shape is an error.
          What differs from run to run is not left out: the first time, a value of the run is bound to the one that the page shows in its
          place, and from then on the two must go together, also where a command repeats the value. Times and ages are only told as such.
          A page that is rewritten is one run, all of it, so that its values go together too.
Not here: the machines on which a page is followed (machines.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
GUIDES: Final = ROOT / "docs" / "guide"

#: set to 1, pages get what their commands show now
REWRITE: Final = os.environ.get("KOINON_REWRITE_GUIDE") == "1"

_PART = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$|^<!-- meanwhile: (?P<meanwhile>.+?) -->$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(?:(?P<user>[a-z]+)@)?(?P<zone>[a-z]+)\$ (?P<command>.+)")
_FILE = re.compile(r"# (?P<path>\S+) on (?P<zone>[a-z]+)\n")
_INDENTED = re.compile(r"^(?: {4}|\t)\S", re.MULTILINE)

#: what is another in each run, yet the same wherever it comes again
_IDENTITIES: Final = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"koinon1\.[\w-]+(?:\.\.\.[\w-]+)?",  # an invitation
        r"\b[0-9a-f]{12,}\b",  # hashes, ids of federations, log-in tokens
        # How far a zone is: in facts, in the log, and in the table of zones.
        r"(?<=POSITION   : )\d+\.\d+|(?<=head=)\d+\.\d+|(?<=\"head\": \")\d+\.\d+|\b\d+\.\d+(?= +\d+ +(?:\d+\.\d s|-) )",
        r"(?<= )\d+(?=  ok$)",  # how far a zone is: the index alone, as `onezone list --status` has it
        # A rule's id depends on how many there were before: told after "ID:" and "rule", and first in the rows of a table.
        r"(?<=^ID: )\d+(?=\nRULE)|(?<=\brule )\d+(?=:)|^ *\d+(?= +(?:[@#*]|is |grants |counts ))",
    )
)
_PASSING: Final = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?UTC|Z)?|\b\d{8}T\d{6}Z"), "<time>"),
    (re.compile(r"\b\d+\.\d s\b|(?<=no sign of life for )\d+ s\b"), "<seconds> s"),
    (re.compile(r"(?<=^koinon )\d[\w.]*|(?<=this one knows )\d+", re.MULTILINE), "<version>"),
    (re.compile(r"  +"), " "),  # columns are as wide as what stands in them
)


class WrongPage(AssertionError):
    """A page holds what nobody could follow."""


@dataclass(frozen=True)
class Step:
    """Something typed: who types it where, and what the page says it shows."""

    user: str
    zone: str
    command: str
    shown: str
    line: str  #: as it stands in the page, with its prompt


@dataclass(frozen=True)
class Given:
    """A file that the reader writes."""

    path: str
    zone: str
    text: str


@dataclass(frozen=True)
class Meanwhile:
    """Something that happens by itself."""

    text: str


@dataclass(frozen=True)
class NotRun:
    """A command that no test runs."""

    command: str


Part = Step | Given | Meanwhile | NotRun


def parts(page: Path) -> list[Part]:
    """All that a page has the reader do, in order. Raises WrongPage."""
    text = page.read_text()
    found: list[Part] = []
    for match in _PART.finditer(text):
        if match["meanwhile"] is not None:
            found.append(Meanwhile(match["meanwhile"]))
        else:
            found += _block(page, match["kind"], match["text"])
    if "```" in prose(page) or _INDENTED.search(prose(page)):
        raise WrongPage(f"{page.name}: a block without a fence, or half of one")
    return found


def prose(page: Path) -> str:
    """The text of a page, without its blocks."""
    return _PART.sub("", page.read_text())


def _block(page: Path, kind: str, text: str) -> Iterator[Part]:
    match kind:
        case "console" | "http":
            yield from _steps(page, kind, text)
        case "sh not-run":
            yield from map(NotRun, text.splitlines())
        case _:
            if (file := _FILE.match(text)) is None:
                raise WrongPage(f"{page.name}: a block {kind!r} that does not begin with `# FILE on ZONE`:\n{text}")
            yield Given(file["path"], file["zone"], text)


def _steps(page: Path, kind: str, text: str) -> Iterator[Step]:
    step: Step | None = None
    for line in text.splitlines():
        begun = _begins(kind, line)
        if begun is None:
            if step is None:
                raise WrongPage(f"{page.name}: a block begins with output: {line}")
            step = replace(step, shown=f"{step.shown}{line}\n")
            continue
        if step is not None:
            yield step
        step = begun
    if step is not None:
        yield step


def _begins(kind: str, line: str) -> Step | None:
    if kind == "http":
        return Step("oneadmin", "", line[2:], "", line) if line.startswith("> ") else None
    prompt = _PROMPT.fullmatch(line)
    return None if prompt is None else Step(prompt["user"] or "oneadmin", prompt["zone"], prompt["command"], "", line)


class _Bindings:
    """Which value of the page stands for which of the run, for each kind of value."""

    def __init__(self) -> None:
        self._shown: list[dict[str, str]] = [{} for _ in _IDENTITIES]  # value of the run -> value of the page

    def as_shown(self, shown: str, seen: str) -> str:
        """``seen`` with the page's values; new ones are bound in their order if then it says what ``shown`` says."""
        tried = [dict(known) for known in self._shown]
        for kind, known in zip(_IDENTITIES, tried, strict=True):
            theirs, ours = ([value.strip() for value in kind.findall(text)] for text in (shown, seen))
            for page_value, value in zip(theirs, ours, strict=False):
                if page_value not in known.values():
                    known.setdefault(value, page_value)
        bound = _with_values(tried, seen)
        # An invitation is good for the commands to come, whatever else is shown with it.
        self._shown = tried if same(shown, bound) else [tried[0], *self._shown[1:]]
        return bound

    def agrees(self, shown: str) -> Callable[[str], bool]:
        """What tells of an output whether it says what ``shown`` says."""
        return lambda seen: same(shown, self.as_shown(shown, seen))

    def as_run(self, text: str) -> str:
        """A text of the page with the run's values."""
        return _with_values([{page_value: value for value, page_value in known.items()} for known in self._shown], text)


def _with_values(values: Sequence[Mapping[str, str]], text: str) -> str:
    for kind, known in zip(_IDENTITIES, values, strict=True):
        text = _replaced(kind, known, text)
    return text


def _replaced(kind: re.Pattern[str], values: Mapping[str, str], text: str) -> str:
    """``text`` with other values of this kind, each behind the blanks that were before it."""
    return kind.sub(lambda match: match[0].replace(match[0].strip(), values.get(match[0].strip(), match[0].strip())), text)


def same(shown: str, real: str) -> bool:
    """Whether two outputs say the same, at other times."""
    return _timeless(shown) == _timeless(real)


def _timeless(text: str) -> str:
    for pattern, name in _PASSING:
        text = pattern.sub(name, text)
    return text.strip()


#: does one part of a page and returns what is seen; it may ask of an output whether the page shows that
Do = Callable[[Part, Callable[[str], bool]], str]


def follow(page: Path, do: Do) -> tuple[list[str], list[str]]:
    """Do all of a page, and put what is seen into it if that is wanted.

    Args:
        page: the Markdown file.
        do: see above. A command comes to it with the run's values in it.

    Returns:
        What was seen, and what the page shows: line by line, each step's after the line that is typed.
    """
    bindings = _Bindings()
    seen, shown, now = [], [], []
    for part in parts(page):
        if not isinstance(part, Step):
            do(part, bool)
            continue
        step = replace(part, command=bindings.as_run(part.command))
        output = do(step, bindings.agrees(part.shown))
        now.append(f"{bindings.as_run(part.line)}\n{output}")
        seen += [part.line, *_timeless(bindings.as_shown(part.shown, output)).splitlines()]
        shown += [part.line, *_timeless(part.shown).splitlines()]
    if REWRITE and seen != shown:
        _rewrite(page, now)
        return [], []
    return seen, shown


def _rewrite(page: Path, steps: list[str]) -> None:
    """Put a run into the page, in place of the one that is there."""
    run = iter(steps)

    def block(match: re.Match[str]) -> str:
        if match["kind"] not in ("console", "http"):
            return match[0]
        here = [next(run) for _ in _steps(page, match["kind"], match["text"])]
        return f"```{match['kind']}\n{''.join(here)}```"

    page.write_text(_PART.sub(block, page.read_text()))
